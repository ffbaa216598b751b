package fleet

import (
	"testing"

	"rekey/internal/config"
)

// nats.tls is for commands that reach an embedded server with TLS; without, it would keep
// them out.
func TestReachableSpeaksTLSToAServerThatDoes(t *testing.T) {
	t.Parallel()
	client := config.ClientTLS{CAFile: "ca.crt", CertFile: "client.crt", KeyFile: "client.key"}
	for _, tt := range []struct {
		name string
		cfg  config.NATS
		want config.ClientTLS
	}{
		{"embedded", config.NATS{TLS: client, Embedded: config.Embedded{Listen: "127.0.0.1:4222"}}, config.ClientTLS{}},
		{"embedded with TLS", config.NATS{TLS: client, Embedded: config.Embedded{Listen: "127.0.0.1:4222", TLS: config.ServerTLS{CertFile: "server.crt"}}}, client},
		{"external", config.NATS{TLS: client, URL: "tls://nats.example.com:4222"}, client},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Reachable(tt.cfg, "")
			if err != nil || got.TLS != tt.want {
				t.Errorf("TLS is %+v and the error %v, want %+v", got.TLS, err, tt.want)
			}
		})
	}
}
