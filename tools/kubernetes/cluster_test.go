package kubernetes_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startLimit is how long a server may take to become ready, on a busy machine.
const startLimit = 5 * time.Minute

// cluster is the API server of all tests, as its administrator.
var cluster *rest.Config

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the API server:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	directory, err := os.MkdirTemp("", "certpurge-kubernetes-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	etcd, url, err := startEtcd(directory)
	if err != nil {
		return 1, err
	}
	defer etcd.stop()
	server, config, err := startServer(directory, url)
	if err != nil {
		return 1, err
	}
	defer server.stop() // before etcd, without which it would not end
	if err := waitReady(config, server); err != nil {
		return 1, err
	}
	cluster = config
	return m.Run(), nil
}

func startEtcd(directory string) (etcd *process, url string, err error) {
	client, peer := "http://"+freeAddress(), "http://"+freeAddress()
	etcd, err = start(directory, "CERTPURGE_TEST_ETCD", "--data-dir="+filepath.Join(directory, "etcd"),
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	return etcd, client, err
}

func startServer(directory, etcd string) (server *process, config *rest.Config, err error) {
	key, token := filepath.Join(directory, "accounts.pem"), rand.Text()
	if err := errors.Join(
		writeKey(key),
		os.WriteFile(filepath.Join(directory, "tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600),
	); err != nil {
		return nil, nil, err
	}
	address := freeAddress()
	_, port, _ := net.SplitHostPort(address)
	certificates := filepath.Join(directory, "certificates")
	server, err = start(directory, "CERTPURGE_TEST_KUBE_APISERVER", "--etcd-servers="+etcd, "--secure-port="+port,
		"--bind-address=127.0.0.1", "--cert-dir="+certificates, "--token-auth-file="+filepath.Join(directory, "tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key,
		"--service-account-signing-key-file="+key, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24")
	config = &rest.Config{
		Host: "https://" + address, BearerToken: token, QPS: -1, // no limit
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(certificates, "apiserver.crt")},
	}
	return server, config, err
}

// waitReady asks until the server is ready. It writes its certificate, and listens, at some time after its start.
func waitReady(config *rest.Config, server *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for tick := time.Tick(100 * time.Millisecond); ; {
		client, err := kubernetes.NewForConfig(config)
		if err == nil {
			if err = client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err == nil {
				return nil
			}
		}
		select {
		case <-tick:
		case <-server.ended:
			return errors.New("kube-apiserver has ended")
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready after %v: %w", startLimit, err)
		}
	}
}

// process is a server that runs until stop.
type process struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (p *process) stop() {
	p.cancel()
	<-p.ended
}

// start runs the program that an environment variable names, with its output in a file that is printed if it ends early.
func start(directory, variable string, args ...string) (*process, error) {
	program := os.Getenv(variable)
	if program == "" {
		return nil, fmt.Errorf("%s: expected the path of the program; run make kubernetes-test", variable)
	}
	log, err := os.Create(filepath.Join(directory, filepath.Base(program)+".log"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // what the Makefile names
	command.Stdout, command.Stderr = log, log
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 20 * time.Second
	if err := command.Start(); err != nil {
		cancel()
		return nil, err
	}
	p := &process{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		if err := command.Wait(); ctx.Err() == nil {
			text, _ := os.ReadFile(log.Name())
			fmt.Fprintf(os.Stderr, "%s ended: %v\n%s", program, err, text)
		}
		_ = log.Close()
	}()
	return p, nil
}

// freeAddress is one that no process listens on now.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}
