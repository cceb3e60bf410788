package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
)

// Load over TLS, for tests/bench/tls.py. Three more kinds:
//
//	handshake: each call has a connection of its own, with a whole handshake
//	resumed: the same; from its second connection on, each of --connections clients resumes the session before
//	idle: each connection makes one call; "ready" is printed once all have, then they stay for the duration

type secure struct{ config *tls.Config }

func newSecure(ca string) (*secure, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", ca)
	}
	return &secure{&tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}}}, nil
}

// dial connects. Without TLS s is nil.
func (s *secure) dial(endpoint string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", endpoint, 10*time.Second)
	if err != nil || s == nil {
		return conn, err
	}
	secured := tls.Client(conn, s.config)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := secured.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	if p := secured.ConnectionState().NegotiatedProtocol; p != "h2" {
		conn.Close()
		return nil, fmt.Errorf("the server chose %q", p)
	}
	return secured, nil
}

// logIn gets a token. The kind login makes these calls itself.
func (l *load) logIn(endpoint, user string) error {
	if user == "" {
		return nil
	}
	var ok bool
	if l.user, l.password, ok = strings.Cut(user, ":"); !ok {
		return errors.New("--user wants NAME:PASSWORD")
	}
	if l.kind == "login" {
		return nil
	}
	conn, err := l.secure.dial(endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	request, _ := (&pb.AuthenticateRequest{Name: l.user, Password: l.password}).Marshal()
	body, err := oneCall(conn, grpcHeaders("/etcdserverpb.Auth/Authenticate"), message(0, request))
	if err != nil {
		return err
	}
	var response pb.AuthenticateResponse
	if err := response.Unmarshal(body[5:]); err != nil {
		return err
	}
	l.token = response.Token
	return nil
}

// oneCall makes the first call of a connection and returns its message, framed.
func oneCall(conn net.Conn, headers []header, body []byte) ([]byte, error) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	out := &buffered{conn: conn}
	framer := http2.NewFramer(out, conn)
	_, _ = out.Write([]byte(http2.ClientPreface))
	_ = framer.WriteSettings()
	var block []byte
	for _, h := range headers {
		block = appendLiteral(block, h.name, h.value)
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
	_ = framer.WriteData(1, true, body)
	if err := out.flush(); err != nil {
		return nil, err
	}
	var answer []byte
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			answer = append(answer, f.Data()...)
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("the stream was reset: %v", f.ErrCode)
		case *http2.HeadersFrame:
			if !f.StreamEnded() {
				continue
			}
			if len(answer) < 5 {
				return nil, errors.New("the call failed")
			}
			return answer, nil
		}
	}
}

func (l *load) oneRead(conn net.Conn, rnd *rand.Rand) error {
	m, _ := (&pb.RangeRequest{Key: loadKey(rnd.Intn(l.keys)), Serializable: true}).Marshal()
	hs := grpcHeaders(rangePath)
	if l.token != "" {
		hs = append(hs, header{"token", l.token})
	}
	_, err := oneCall(conn, hs, message(0, m))
	return err
}

// connect makes connections with one call each.
func (l *load) connect(endpoint string, seed int64) ([]time.Duration, error) {
	mine := &secure{l.secure.config.Clone()}
	if l.kind == "resumed" {
		mine.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	rnd := rand.New(rand.NewSource(seed))
	var times []time.Duration
	for first := true; time.Now().Before(l.until); first = false {
		begin := time.Now()
		conn, err := mine.dial(endpoint)
		if err != nil {
			return times, err
		}
		resumed := conn.(*tls.Conn).ConnectionState().DidResume
		err = l.oneRead(conn, rnd)
		conn.Close()
		if err != nil {
			return times, err
		}
		if resumed != (l.kind == "resumed" && !first) {
			return times, fmt.Errorf("resumed: %v", resumed)
		}
		times = append(times, time.Since(begin))
	}
	return times, nil
}

// idle holds one connection.
func (l *load) idle(endpoint string, seed int64) ([]time.Duration, error) {
	begin := time.Now()
	conn, err := l.secure.dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := l.oneRead(conn, rand.New(rand.NewSource(seed))); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	if l.sent.Add(1) == l.limit {
		fmt.Println("ready")
	}
	_ = conn.SetDeadline(time.Time{})
	time.Sleep(time.Until(l.until))
	return []time.Duration{took}, nil
}
