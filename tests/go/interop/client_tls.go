package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// TLS of the stock clients: where QUOIN_TEST_CA names a file, they speak TLS, trust what stands in it, and present the
// certificate and key that QUOIN_TEST_CERT and QUOIN_TEST_KEY name, if they do. All three files are read anew for each
// handshake, so that a driver can change them under a running client.

func clientTLS() *tls.Config {
	ca, cert, key := os.Getenv("QUOIN_TEST_CA"), os.Getenv("QUOIN_TEST_CERT"), os.Getenv("QUOIN_TEST_KEY")
	if ca == "" {
		return nil
	}
	config := &tls.Config{
		// Go reads RootCAs once; VerifyConnection makes the same check with what is in the file now.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("%s: no certificate", ca)
			}
			if len(s.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: s.ServerName})
			return err
		},
	}
	if cert != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
	}
	return config
}

func transportCredentials() credentials.TransportCredentials {
	if config := clientTLS(); config != nil {
		return credentials.NewTLS(config)
	}
	return insecure.NewCredentials()
}

// dialServer connects for frames that no client makes: over TLS where clients speak it, with HTTP/2 agreed if asked for.
func dialServer(endpoint string, http2 bool) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", endpoint, 10*time.Second)
	config := clientTLS()
	if err != nil || config == nil {
		return conn, err
	}
	config.ServerName, _, _ = net.SplitHostPort(endpoint)
	if http2 {
		config.NextProtos = []string{"h2"}
	}
	secured := tls.Client(conn, config)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return secured, nil
}

// abort closes a connection without the wait in which its port could not be used again.
func abort(conn net.Conn) {
	raw := conn
	if secured, ok := conn.(*tls.Conn); ok {
		raw = secured.NetConn()
	}
	_ = raw.(*net.TCPConn).SetLinger(0)
	_ = raw.Close()
}
