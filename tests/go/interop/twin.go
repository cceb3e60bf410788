package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// twin makes one call to several members at the same time and tells what each answered, for drivers that compare. It
// knows every method of etcd's services by name ("KV/Range") and takes and gives messages as JSON (protojson: bytes in
// base64). No retries, no checks of a client. One JSON object comes in on a line and one goes out.
//
//	dial    Name, Endpoint, with TLS also CA, Cert, Key
//	call    To, Method, Request, Meta (one map for each of To, or one for all), Millis -> Answers, one for each of To
//	open    Name, To, Method, Meta: a stream to each; send Name, Request; half Name: no more requests
//	read    Name, Count, Millis -> for each: up to Count messages, and the end of the stream if it has come
//	settle  Name, Revisions (one for each), Millis: of a watch stream, all messages up to that revision
//	close   Name
type twinRequest struct {
	Do                      string
	Name                    string
	Endpoint, CA, Cert, Key string
	To                      []string
	Method                  string
	Request                 json.RawMessage
	Meta                    []map[string]string
	Millis                  int
	Count                   int
	Revisions               []int64
}

type twinAnswer struct {
	Code     string            `json:"code,omitempty"`
	Message  string            `json:"message,omitempty"`
	Response json.RawMessage   `json:"response,omitempty"`
	Messages []json.RawMessage `json:"messages,omitempty"`
	End      *twinAnswer       `json:"end,omitempty"`
	Unknown  string            `json:"unknown,omitempty"` // fields of the answer that the schema does not have
}

type twin struct {
	conns   map[string]*grpc.ClientConn
	streams map[string][]*twinStream
}

// twinStream is one stream to one member, and what came over it and was not asked for yet.
type twinStream struct {
	stream   grpc.ClientStream
	method   protoreflect.MethodDescriptor
	cancel   context.CancelFunc
	mu       sync.Mutex
	messages []*dynamicpb.Message
	progress int64 // of a watch stream: the highest revision of an answer to a progress request
	end      error
	news     chan struct{}
}

func (s *twinStream) receive() {
	for {
		m := dynamicpb.NewMessage(s.method.Output())
		err := s.stream.RecvMsg(m)
		s.mu.Lock()
		if at, ok := progressOf(m); err != nil {
			s.end = err
		} else if ok {
			s.progress = max(s.progress, at)
		} else {
			s.messages = append(s.messages, m)
		}
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// wait until enough() says so, the stream has ended or the time is over.
func (s *twinStream) wait(until time.Time, enough func() bool) {
	for {
		s.mu.Lock()
		done := enough() || s.end != nil
		s.mu.Unlock()
		left := time.Until(until)
		if done || left <= 0 {
			return
		}
		select {
		case <-s.news:
		case <-time.After(min(left, 50*time.Millisecond)):
		}
	}
}

func dialTwin(r *twinRequest) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(pem)
		if r.Cert != "" {
			pair, err := tls.LoadX509KeyPair(r.Cert, r.Key)
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{pair}
		}
		creds = credentials.NewTLS(config)
	}
	return grpc.NewClient("passthrough:///"+r.Endpoint, grpc.WithTransportCredentials(creds), grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
}

func twinMessage(d protoreflect.MessageDescriptor, text json.RawMessage) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(d)
	if len(text) == 0 {
		return m, nil
	}
	return m, protojson.Unmarshal(text, m)
}

var twinJSON = protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true}

func twinText(m *dynamicpb.Message) json.RawMessage {
	text, err := twinJSON.Marshal(m)
	if err != nil { // invalid UTF-8 in a string, say
		raw, _ := proto.Marshal(m)
		text, _ = json.Marshal(map[string]string{"not_json": err.Error(), "raw": hex.EncodeToString(raw)})
	}
	return text
}

func twinStatus(err error) *twinAnswer {
	if errors.Is(err, io.EOF) {
		return &twinAnswer{Code: "OK"}
	}
	s := status.Convert(err)
	return &twinAnswer{Code: s.Code().String(), Message: s.Message()}
}

func (r *twinRequest) context(parent context.Context, i int) context.Context {
	if len(r.Meta) == 0 {
		return parent
	}
	return metadata.NewOutgoingContext(parent, metadata.New(r.Meta[min(i, len(r.Meta)-1)]))
}

// each does something for all of To (or all streams) at the same time.
func each(n int, do func(i int) *twinAnswer) []*twinAnswer {
	out := make([]*twinAnswer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { out[i] = do(i) })
	}
	all.Wait()
	return out
}

func (t *twin) call(r *twinRequest) ([]*twinAnswer, error) {
	method, path, err := findMethod(r.Method)
	if err != nil {
		return nil, err
	}
	request, err := twinMessage(method.Input(), r.Request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Request, err)
	}
	return each(len(r.To), func(i int) *twinAnswer {
		ctx, cancel := context.WithTimeout(r.context(context.Background(), i), r.time())
		defer cancel()
		answer := dynamicpb.NewMessage(method.Output())
		// A connection that broke with its member's last life says Unavailable by itself: the next one is waited for.
		if err := t.conns[r.To[i]].Invoke(ctx, path, request, answer, grpc.WaitForReady(true)); err != nil {
			return twinStatus(err)
		}
		return &twinAnswer{Code: codes.OK.String(), Response: twinText(answer),
			Unknown: hex.EncodeToString(answer.ProtoReflect().GetUnknown())}
	}), nil
}

func (r *twinRequest) time() time.Duration {
	if r.Millis == 0 {
		return callTimeout
	}
	return time.Duration(r.Millis) * time.Millisecond
}

func (t *twin) open(r *twinRequest) ([]*twinAnswer, error) {
	method, path, err := findMethod(r.Method)
	if err != nil {
		return nil, err
	}
	streams := []*twinStream{}
	for i, name := range r.To {
		ctx, cancel := context.WithCancel(r.context(context.Background(), i))
		desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}
		stream, err := t.conns[name].NewStream(ctx, desc, path, grpc.WaitForReady(true))
		if err != nil {
			cancel()
			return nil, err
		}
		s := &twinStream{stream: stream, method: method, cancel: cancel, news: make(chan struct{}, 1)}
		streams = append(streams, s)
	}
	t.streams[r.Name] = streams
	if method.IsStreamingClient() {
		for _, s := range streams {
			go s.receive()
		}
		return nil, nil
	}
	err = t.send(r)
	for _, s := range streams {
		_ = s.stream.CloseSend()
		go s.receive()
	}
	return nil, err
}

// send to a stream that has ended is no error here: its end is told with what is read next.
func (t *twin) send(r *twinRequest) error {
	for _, s := range t.streams[r.Name] {
		m, err := twinMessage(s.method.Input(), r.Request)
		if err != nil {
			return err
		}
		_ = s.stream.SendMsg(m)
	}
	return nil
}

// take hands over up to n messages, and the end when no message is left before it.
func (s *twinStream) take(n int) *twinAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.messages))
	a := &twinAnswer{}
	for _, m := range s.messages[:n] {
		a.Messages = append(a.Messages, twinText(m))
	}
	s.messages = s.messages[n:]
	if len(s.messages) == 0 && s.end != nil {
		a.End = twinStatus(s.end)
	}
	return a
}

func (t *twin) read(r *twinRequest) []*twinAnswer {
	streams := t.streams[r.Name]
	until := time.Now().Add(r.time())
	return each(len(streams), func(i int) *twinAnswer {
		s := streams[i]
		s.wait(until, func() bool { return len(s.messages) >= r.Count })
		return s.take(max(r.Count, 1))
	})
}

// settle asks for progress until the member says that everything up to the revision was sent (api-semantics 3.4: it
// does not answer while a watcher of the stream is still behind), and hands over what came.
func (t *twin) settle(r *twinRequest) []*twinAnswer {
	streams := t.streams[r.Name]
	until := time.Now().Add(r.time())
	return each(len(streams), func(i int) *twinAnswer {
		s := streams[i]
		ask, _ := twinMessage(s.method.Input(), json.RawMessage(`{"progress_request":{}}`))
		s.mu.Lock()
		s.progress = 0 // what was told before the last watcher came says nothing of it
		s.mu.Unlock()
		there := func() bool { return s.progress >= r.Revisions[i] }
		for pause := 4 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
			_ = s.stream.SendMsg(ask)
			s.wait(time.Now().Add(pause), there)
			s.mu.Lock()
			done := there() || s.end != nil
			s.mu.Unlock()
			if done {
				break
			}
			if time.Now().After(until) {
				return &twinAnswer{Code: "NotSettled"}
			}
		}
		return s.take(1 << 30)
	})
}

// progressOf is the revision of an answer to a progress request: no events, and the stream's own watch ID.
func progressOf(m *dynamicpb.Message) (int64, bool) {
	fields := m.Descriptor().Fields()
	if m.Descriptor().Name() != "WatchResponse" || m.Get(fields.ByName("watch_id")).Int() != -1 || m.Get(fields.ByName("created")).Bool() || m.Get(fields.ByName("canceled")).Bool() {
		return 0, false
	}
	header := m.Get(fields.ByName("header")).Message()
	return header.Get(header.Descriptor().Fields().ByName("revision")).Int(), true
}

func (t *twin) do(r *twinRequest) ([]*twinAnswer, error) {
	switch r.Do {
	case "dial":
		if old := t.conns[r.Name]; old != nil {
			_ = old.Close()
		}
		conn, err := dialTwin(r)
		t.conns[r.Name] = conn
		return nil, err
	case "call":
		return t.call(r)
	case "open":
		return t.open(r)
	case "send":
		return nil, t.send(r)
	case "half":
		for _, s := range t.streams[r.Name] {
			_ = s.stream.CloseSend()
		}
		return nil, nil
	case "read":
		return t.read(r), nil
	case "settle":
		return t.settle(r), nil
	case "close":
		for _, s := range t.streams[r.Name] {
			s.cancel()
		}
		delete(t.streams, r.Name)
		return nil, nil
	}
	return nil, fmt.Errorf("nothing is called %s", r.Do)
}

func runTwin([]string) error {
	t := &twin{conns: map[string]*grpc.ClientConn{}, streams: map[string][]*twinStream{}}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := &twinRequest{}
		if err := json.Unmarshal(line, r); err != nil {
			return err
		}
		answers, err := t.do(r)
		failed := ""
		if err != nil {
			failed = fmt.Sprintf("%s %s: %v", r.Do, strings.TrimSpace(string(line)), err)
		}
		if err := out.Encode(map[string]any{"answers": answers, "failed": failed}); err != nil {
			return err
		}
	}
}
