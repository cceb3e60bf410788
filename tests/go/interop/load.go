package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Load for tests/bench/compare.py: many connections with some calls in flight on each, over a client of our own
// that costs little (a frame writer and a frame reader), so that two cores measure the server. Prints one line:
//
//	CALLS SECONDS ERRORS P50_US P99_US
//
// The kinds: fill (keys 0..N-1 once, by txns of 100), put, range (serializable), linearizable, txn (compare, put,
// get), page (1000 keys from a random place), keepalive (of one lease a connection; each of the calls in flight has a
// stream of its own that stays open), login (Authenticate as --user). More, of connections: load_tls.go.

type loadConn struct {
	conn    net.Conn
	framer  *http2.Framer
	pending map[uint32]time.Time
	next    uint32
	block   []byte
	lease   int64
}

const (
	loadWindow = 1 << 30
	keySize    = 32
)

func loadKey(i int) []byte { return fmt.Appendf(nil, "%0*d", keySize, i) }

type load struct {
	kind  string
	keys  int
	value []byte
	limit int64 // calls to send
	sent  atomic.Int64
	bad   atomic.Int64
	order atomic.Int64 // next key of fill
	lease []int64      // of each connection, for keepalive
	until time.Time

	secure         *secure // nil: plain TCP
	user, password string  // of login
	token          string  // sent along, if not empty
}

// body is the next request, framed.
func (l *load) body(rnd *rand.Rand, lease int64) ([]byte, bool) {
	n := l.sent.Add(1)
	if (l.limit > 0 && n > l.limit) || (l.limit == 0 && !time.Now().Before(l.until)) {
		return nil, false
	}
	key := loadKey(rnd.Intn(l.keys))
	var m []byte
	switch l.kind {
	case "put":
		m, _ = (&pb.PutRequest{Key: key, Value: l.value}).Marshal()
	case "range", "linearizable":
		m, _ = (&pb.RangeRequest{Key: key, Serializable: l.kind == "range"}).Marshal()
	case "page":
		key = loadKey(rnd.Intn(max(1, l.keys-1000))) // a full page from there
		m, _ = (&pb.RangeRequest{Key: key, RangeEnd: []byte{0}, Limit: 1000, Serializable: true}).Marshal()
	case "txn":
		// What a Kubernetes update sends; the compare holds for any key that exists.
		m, _ = (&pb.TxnRequest{
			Compare: []*pb.Compare{{Key: key, Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{Version: 0}}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: l.value}}},
				{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
			Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}}}).Marshal()
	case "keepalive":
		m, _ = (&pb.LeaseKeepAliveRequest{ID: lease}).Marshal()
	case "login":
		m, _ = (&pb.AuthenticateRequest{Name: l.user, Password: l.password}).Marshal()
	case "fill":
		t := &pb.TxnRequest{}
		for range 100 {
			i := int(l.order.Add(1)) - 1
			if i >= l.keys {
				break
			}
			t.Success = append(t.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: loadKey(i), Value: l.value}}})
		}
		if len(t.Success) == 0 {
			return nil, false
		}
		m, _ = t.Marshal()
	}
	return message(0, m), true
}

func (l *load) path() string {
	switch l.kind {
	case "put":
		return putPath
	case "txn", "fill":
		return "/etcdserverpb.KV/Txn"
	case "keepalive":
		return "/etcdserverpb.Lease/LeaseKeepAlive"
	case "login":
		return "/etcdserverpb.Auth/Authenticate"
	}
	return rangePath
}

// send makes the next call on a stream of its own.
func (c *loadConn) send(l *load, rnd *rand.Rand) (bool, error) {
	body, more := l.body(rnd, c.lease)
	if !more {
		return false, nil
	}
	stream := c.next
	c.next += 2
	c.pending[stream] = time.Now()
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block, EndHeaders: true}); err != nil {
		return false, err
	}
	return true, c.sendBody(stream, body, l.kind != "keepalive")
}

// sendOn sends the next message of a stream that stays open; with nothing left to send it ends the stream.
func (c *loadConn) sendOn(l *load, rnd *rand.Rand, stream uint32) error {
	body, more := l.body(rnd, c.lease)
	if !more {
		return c.framer.WriteData(stream, true, nil)
	}
	c.pending[stream] = time.Now()
	return c.sendBody(stream, body, false)
}

func (c *loadConn) sendBody(stream uint32, body []byte, end bool) error {
	for len(body) > 16384 {
		if err := c.framer.WriteData(stream, false, body[:16384]); err != nil {
			return err
		}
		body = body[16384:]
	}
	return c.framer.WriteData(stream, end, body)
}

// run drives one connection from one goroutine: each answer is followed by the next call.
func (l *load) run(endpoint string, inflight int, seed int64, lease int64) ([]time.Duration, error) {
	conn, err := l.secure.dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	out := &buffered{conn: conn}
	c := &loadConn{conn: conn, framer: http2.NewFramer(out, &reader{conn: conn, out: out, buf: make([]byte, 0, 1<<16)}), next: 1, pending: map[uint32]time.Time{}, lease: lease}
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(1 << 20)
	// Literal fields without indexing: the same bytes serve every call, and no table has to be kept.
	for _, h := range l.headers() {
		c.block = appendLiteral(c.block, h.name, h.value)
	}
	rnd := rand.New(rand.NewSource(seed))
	_, _ = io.WriteString(out, http2.ClientPreface)
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: loadWindow}); err != nil {
		return nil, err
	}
	if err := c.framer.WriteWindowUpdate(0, loadWindow); err != nil {
		return nil, err
	}
	for range inflight {
		if _, err := c.send(l, rnd); err != nil {
			return nil, err
		}
	}
	var times []time.Duration
	decoder := hpack.NewDecoder(4096, nil)
	received := 0
	for len(c.pending) > 0 {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return times, err
		}
		ended := false
		switch f := f.(type) {
		case *http2.HeadersFrame:
			ok := true
			decoder.SetEmitFunc(func(h hpack.HeaderField) {
				if h.Name == "grpc-status" && h.Value != "0" {
					ok = false
				}
			})
			if _, err := decoder.Write(f.HeaderBlockFragment()); err != nil {
				return times, err
			}
			ended = f.StreamEnded()
			if ended && !ok {
				l.bad.Add(1)
			}
		case *http2.DataFrame:
			received += len(f.Data())
			if received > loadWindow/2 {
				if err := c.framer.WriteWindowUpdate(0, uint32(received)); err != nil {
					return times, err
				}
				received = 0
			}
			ended = f.StreamEnded()
			if begin, mine := c.pending[f.StreamID]; mine && !ended && l.kind == "keepalive" {
				times = append(times, time.Since(begin))
				delete(c.pending, f.StreamID)
				if err := c.sendOn(l, rnd, f.StreamID); err != nil {
					return times, err
				}
			}
		case *http2.RSTStreamFrame:
			l.bad.Add(1)
			ended = true
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.framer.WritePing(true, f.Data)
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.framer.WriteSettingsAck()
			}
		case *http2.GoAwayFrame:
			return times, fmt.Errorf("the server sent GOAWAY %v", f.ErrCode)
		}
		if ended {
			id := f.Header().StreamID
			if begin, mine := c.pending[id]; mine {
				times = append(times, time.Since(begin))
				delete(c.pending, id)
				if _, err := c.send(l, rnd); err != nil {
					return times, err
				}
			}
		}
	}
	return times, nil
}

func (l *load) headers() []header {
	hs := grpcHeaders(l.path())
	if l.token != "" {
		hs = append(hs, header{"token", l.token})
	}
	return hs
}

func appendLiteral(block []byte, name, value string) []byte {
	block = append(block, 0)
	for _, s := range []string{name, value} {
		if len(s) >= 127 {
			panic("a longer header needs a longer length")
		}
		block = append(append(block, byte(len(s))), s...)
	}
	return block
}

// buffered holds frames back until the reader is about to wait.
type buffered struct {
	conn net.Conn
	buf  []byte
}

func (b *buffered) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *buffered) flush() error {
	if len(b.buf) == 0 {
		return nil
	}
	_, err := b.conn.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

type reader struct {
	conn net.Conn
	out  *buffered
	buf  []byte
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		if err := r.out.flush(); err != nil {
			return 0, err
		}
		_ = r.conn.SetReadDeadline(time.Now().Add(60 * time.Second))
		n, err := r.conn.Read(r.buf[:cap(r.buf)])
		if err != nil {
			return 0, err
		}
		r.buf = r.buf[:n]
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	if len(r.buf) == 0 {
		r.buf = make([]byte, 0, 1<<16)
	}
	return n, nil
}

func runLoad(args []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	kind := flags.String("kind", "put", "fill, put, range, linearizable, txn, page, keepalive or login; handshake, resumed or idle with --ca")
	keys := flags.Int("keys", 1_000_000, "number of keys")
	size := flags.Int("value", 256, "bytes of a value")
	connections := flags.Int("connections", 50, "connections")
	inflight := flags.Int("inflight", 10, "calls in flight on each")
	duration := flags.Duration("duration", 5*time.Second, "how long (not for fill)")
	calls := flags.Int64("calls", 0, "this many calls instead of a duration")
	ca := flags.String("ca", "", "speak TLS, and trust the certificates in this file")
	user := flags.String("user", "", "NAME:PASSWORD: log in first, and send the token with each call")
	_ = flags.Parse(args)
	l := &load{kind: *kind, keys: *keys, value: make([]byte, *size)}
	if *ca != "" {
		var err error
		if l.secure, err = newSecure(*ca); err != nil {
			return err
		}
	}
	if err := l.logIn(*endpoint, *user); err != nil {
		return err
	}
	for i := range l.value {
		l.value[i] = 'a' + byte(i%26)
	}
	if *kind == "keepalive" {
		s, err := dial("the member", *endpoint)
		if err != nil {
			return err
		}
		for range *connections {
			granted, err := s.lease.LeaseGrant(context.Background(), &pb.LeaseGrantRequest{TTL: 600})
			if err != nil {
				return err
			}
			l.lease = append(l.lease, granted.ID)
		}
		_ = s.conn.Close()
	}
	l.limit = *calls
	if *kind == "fill" {
		l.limit = int64((*keys + 99) / 100)
	}
	if *kind == "idle" {
		l.limit = int64(*connections)
	}
	begin := time.Now()
	l.until = begin.Add(*duration)
	var all sync.WaitGroup
	var mu sync.Mutex
	var times []time.Duration
	var failure error
	for i := range *connections {
		var lease int64
		if len(l.lease) > 0 {
			lease = l.lease[i]
		}
		all.Go(func() {
			var t []time.Duration
			var err error
			switch *kind {
			case "handshake", "resumed":
				t, err = l.connect(*endpoint, int64(i))
			case "idle":
				t, err = l.idle(*endpoint, int64(i))
			default:
				t, err = l.run(*endpoint, *inflight, int64(i), lease)
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, t...)
			failure = errors.Join(failure, err)
		})
	}
	all.Wait()
	elapsed := time.Since(begin)
	if failure != nil {
		return failure
	}
	if len(times) == 0 {
		return errors.New("no call was answered")
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	fmt.Printf("%d %.3f %d %d %d\n", len(times), elapsed.Seconds(), l.bad.Load(),
		times[len(times)/2].Microseconds(), times[len(times)*99/100].Microseconds())
	return nil
}
