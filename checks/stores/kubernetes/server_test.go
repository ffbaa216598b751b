package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// startTimeout bounds the start of a server.
const startTimeout = 2 * time.Minute

// cluster is a Kubernetes API server. It has no controllers: a namespace that is deleted stays in its end.
type cluster struct {
	url, ca string                // Its address, and the file with the authority of its certificate.
	admin   *kubernetes.Clientset // It may do everything.
}

// startCluster starts a Kubernetes API server, which ends with the test.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	folder := t.TempDir()
	opts := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range opts.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	key := writeKey(t, folder)
	err := flags.Parse([]string{
		"--etcd-servers=" + startEtcd(t), "--cert-dir=" + folder, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
	})
	check(t, err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	opts.SecureServing.Listener, opts.SecureServing.BindPort = listener, listener.Addr().(*net.TCPAddr).Port
	opts.SecureServing.ExternalAddress = net.IPv4(127, 0, 0, 1)
	c := &cluster{url: "https://" + listener.Addr().String(), ca: filepath.Join(folder, "apiserver.crt")}
	c.run(t, opts)
	c.awaitReady(t)
	return c
}

// run does what app.Run does, and keeps the server's own client.
func (c *cluster) run(t *testing.T, opts *options.ServerRunOptions) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	check(t, opts.GenericServerRunOptions.ComponentGlobalsRegistry.Set())
	complete, err := opts.Complete(ctx)
	check(t, err)
	check(t, utilerrors.NewAggregate(complete.Validate()))
	config, err := app.NewConfig(complete)
	check(t, err)
	completed, err := config.Complete()
	check(t, err)
	server, err := app.CreateServerChain(completed)
	check(t, err)
	prepared, err := server.PrepareRun()
	check(t, err)
	c.admin, err = kubernetes.NewForConfig(server.GenericAPIServer.LoopbackClientConfig)
	check(t, err)
	done := make(chan error, 1)
	go func() { done <- prepared.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
}

func (c *cluster) awaitReady(t *testing.T) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		status := 0
		c.admin.RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
		return status == http.StatusOK, nil
	})
	check(t, err)
}

// startEtcd starts an etcd, which ends with the test, and returns its URL.
func startEtcd(t *testing.T) string {
	t.Helper()
	config := embed.NewConfig()
	config.Dir, config.LogLevel, config.UnsafeNoFsync = t.TempDir(), "fatal", true
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{local}, []url.URL{local}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	check(t, err)
	t.Cleanup(etcd.Close)
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		t.Fatal(err)
	case <-time.After(startTimeout):
		t.Fatal("etcd is not ready")
	}
	return "http://" + strings.TrimPrefix(etcd.Clients[0].Addr().String(), "http://")
}

// writeKey writes the key with which the server signs the tokens of service accounts.
func writeKey(t *testing.T, folder string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalECPrivateKey(key)
	check(t, err)
	file := filepath.Join(folder, "service-accounts.key")
	check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	return file
}
