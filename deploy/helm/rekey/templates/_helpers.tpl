{{- define "rekey.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "rekey.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "rekey.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rekey.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What a Deployment selects its pods by, which never changes. */}}
{{- define "rekey.selector" -}}
app.kubernetes.io/name: {{ include "rekey.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rekey.labels" -}}
{{ include "rekey.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rekey.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "rekey.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "rekey.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* "true" when the worker has the NATS server inside, and empty otherwise. */}}
{{- define "rekey.embedded" -}}
{{- if not (dig "nats" "url" "" .Values.config) -}}true{{- end -}}
{{- end -}}

{{/* The port of the NATS server inside the worker, and empty when it listens to this pod alone. */}}
{{- define "rekey.natsPort" -}}
{{- $listen := dig "nats" "embedded" "listen" "" .Values.config -}}
{{- if and (include "rekey.embedded" .) $listen (not (regexMatch "^(127[.]|localhost:|\\[::1\\])" $listen)) -}}
{{- regexFind "[0-9]+$" $listen -}}
{{- end -}}
{{- end -}}

{{/* Refuses values that cannot work, before anything is installed. */}}
{{- define "rekey.check" -}}
{{- if include "rekey.embedded" . -}}
{{- if or (ne (int .Values.replicas) 1) .Values.keda.enabled -}}
{{- fail "config.nats.url is empty, so each worker would have a NATS server and a queue of its own: set config.nats.url, or replicas to 1 and keda.enabled to false" -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- fail "config.nats.url is empty and persistence.enabled is false, so accepted events would be lost with the pod: set one of them" -}}
{{- end -}}
{{- end -}}
{{- if hasKey (dig "http" dict .Values.config) "listen" -}}
{{- fail "config.http.listen is set by the chart: use port" -}}
{{- end -}}
{{- if hasKey (dig "api" dict .Values.config) "listen" -}}
{{- fail "config.api.listen is set by the chart: use api.enabled and api.port" -}}
{{- end -}}
{{- if and .Values.api.enabled (not (dig "api" "tls" "cert_file" "" .Values.config)) -}}
{{- fail "api.enabled needs config.api.tls with cert_file and key_file: beyond the pod itself the worker serves TLS only" -}}
{{- end -}}
{{- if and .Values.api.enabled (eq (int .Values.api.port) (int .Values.port)) -}}
{{- fail "api.port and port are the same: the API needs a port of its own" -}}
{{- end -}}
{{- if hasKey (dig "worker" dict .Values.config) "drain_timeout" -}}
{{- fail "config.worker.drain_timeout is set by the chart, together with the grace period: use drainSeconds" -}}
{{- end -}}
{{- if hasKey (dig "nats" "embedded" dict .Values.config) "store_dir" -}}
{{- fail "config.nats.embedded.store_dir is set by the chart: use persistence" -}}
{{- end -}}
{{- end -}}

{{/* The whole worker.yaml. */}}
{{- define "rekey.config" -}}
{{- include "rekey.check" . -}}
{{- $own := dict "http" (dict "listen" (printf ":%d" (int .Values.port))) "worker" (dict "drain_timeout" (printf "%ds" (int .Values.drainSeconds))) -}}
{{- if .Values.api.enabled -}}
{{- $_ := set $own "api" (dict "listen" (printf ":%d" (int .Values.api.port))) -}}
{{- end -}}
{{- if include "rekey.embedded" . -}}
{{- $_ := set $own "nats" (dict "embedded" (dict "store_dir" "/var/lib/rekey")) -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .Values.config) $own | toYaml -}}
{{- end -}}

{{- /* The Secrets that rotations deliver to, by their namespaces. */ -}}
{{- define "rekey.rotationSecrets" -}}
{{- $byNamespace := dict }}
{{- range .Values.rotationSecrets }}
{{- $namespace := .namespace | default $.Release.Namespace }}
{{- $_ := set $byNamespace $namespace (append (get $byNamespace $namespace | default list) .name) }}
{{- end }}
{{- $byNamespace | toYaml }}
{{- end }}
