package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Broken input below the generated stubs. Each case is a conversation on a connection of its own, written frame
// by frame; what came back is put into words and compared. All cases run at the same time, which also shows that
// a stalled connection holds up no other.

// How long a case listens for an answer that may never come.
const silence = 2 * time.Second

type header struct{ name, value string }

// wireConn is a client that sends whatever it is told.
type wireConn struct {
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
}

func openWire(endpoint string) (*wireConn, error) {
	conn, err := net.DialTimeout("tcp", endpoint, 10*time.Second)
	if err != nil {
		return nil, err
	}
	w := &wireConn{conn: conn, framer: http2.NewFramer(conn, conn)}
	w.framer.AllowIllegalWrites = true
	w.enc = hpack.NewEncoder(&w.block)
	w.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return w, nil
}

func (w *wireConn) hello() {
	_, _ = io.WriteString(w.conn, http2.ClientPreface)
	_ = w.framer.WriteSettings()
	_ = w.framer.WriteWindowUpdate(0, 1<<24)
}

func (w *wireConn) headers(stream uint32, end bool, hs []header) {
	w.block.Reset()
	for _, h := range hs {
		_ = w.enc.WriteField(hpack.HeaderField{Name: h.name, Value: h.value})
	}
	first := w.block.Bytes()
	rest := []byte(nil)
	if len(first) > 16384 {
		first, rest = first[:16384], first[16384:]
	}
	_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		n := min(len(rest), 16384)
		_ = w.framer.WriteContinuation(stream, n == len(rest), rest[:n])
		rest = rest[n:]
	}
}

func (w *wireConn) data(stream uint32, end bool, b []byte) {
	for len(b) > 16384 {
		_ = w.framer.WriteData(stream, false, b[:16384])
		b = b[16384:]
	}
	_ = w.framer.WriteData(stream, end, b)
}

// grpcHeaders are those of a healthy call, with some replaced (an empty value removes one).
func grpcHeaders(method string, changes ...header) []header {
	hs := []header{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "127.0.0.1"},
		{"content-type", "application/grpc"}, {"te", "trailers"}}
	for _, c := range changes {
		found := false
		for i := range hs {
			if hs[i].name == c.name {
				hs[i].value, found = c.value, true
			}
		}
		if !found {
			hs = append(hs, c)
		}
	}
	kept := hs[:0]
	for _, h := range hs {
		if h.value != "" {
			kept = append(kept, h)
		}
	}
	return kept
}

func message(flag byte, body []byte) []byte {
	out := make([]byte, 5, 5+len(body))
	out[0] = flag
	binary.BigEndian.PutUint32(out[1:], uint32(len(body)))
	return append(out, body...)
}

// listen collects what arrives until all the streams asked for have ended, the connection is closed, or nothing
// came for a while, and puts it into words. Window updates, pings and settings are the transport's own affair.
func (w *wireConn) listen(streams ...uint32) string {
	open := map[uint32]bool{}
	for _, s := range streams {
		open[s] = true
	}
	words := map[uint32][]string{}
	bodies := map[uint32][]byte{}
	say := func(stream uint32, format string, args ...any) {
		words[stream] = append(words[stream], messages(bodies[stream])...)
		delete(bodies, stream)
		words[stream] = append(words[stream], fmt.Sprintf(format, args...))
	}
	ending := ""
	for ending == "" {
		if len(open) == 0 && len(streams) > 0 {
			ending = "answered"
			// What follows an early end (RST_STREAM NO_ERROR) comes with it.
			_ = w.conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
		} else {
			_ = w.conn.SetReadDeadline(time.Now().Add(silence))
		}
		f, err := w.framer.ReadFrame()
		if err != nil {
			var timeout net.Error
			if se, ok := err.(http2.StreamError); ok {
				say(se.StreamID, "unreadable(%v)", se.Code)
				continue
			}
			if asNetError(err, &timeout) && timeout.Timeout() {
				if ending == "" {
					ending = "silent"
				}
			} else if ending == "" {
				ending = "closed"
			}
			break
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			var fields []string
			for _, h := range f.Fields {
				value := h.Value
				if h.Name == "grpc-message" {
					if plain, err := url.PathUnescape(value); err == nil {
						value = plain
					}
				}
				fields = append(fields, fmt.Sprintf("%s=%q", h.Name, value))
			}
			sort.Strings(fields)
			say(f.StreamID, "headers(%s)", strings.Join(fields, " "))
			if f.StreamEnded() {
				say(f.StreamID, "end")
				delete(open, f.StreamID)
			}
		case *http2.DataFrame:
			bodies[f.StreamID] = append(bodies[f.StreamID], f.Data()...)
			if f.StreamEnded() {
				say(f.StreamID, "end")
				delete(open, f.StreamID)
			}
		case *http2.RSTStreamFrame:
			// After an answer this only says that no more of the request is wanted; whether it is still worth saying
			// depends on how much of the request had arrived.
			if said := words[f.StreamID]; f.ErrCode != http2.ErrCodeNo || len(said) == 0 || said[len(said)-1] != "end" {
				say(f.StreamID, "reset(%v)", f.ErrCode)
			}
			delete(open, f.StreamID)
		case *http2.GoAwayFrame:
			// Only this text is part of the protocol; others are the library's own words.
			if f.ErrCode == http2.ErrCodeEnhanceYourCalm {
				say(0, "goaway(%v %q)", f.ErrCode, f.DebugData())
			} else {
				say(0, "goaway(%v)", f.ErrCode)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = w.framer.WritePing(true, f.Data)
			} else {
				say(0, "pong")
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = w.framer.WriteSettingsAck()
			}
		}
		if ending == "answered" {
			ending = "" // read on until the short deadline
			if len(open) == 0 {
				continue
			}
		}
	}
	var lines []string
	for stream, list := range words {
		list = append(list, messages(bodies[stream])...)
		lines = append(lines, fmt.Sprintf("%d: %s", stream, strings.Join(list, " ")))
	}
	sort.Strings(lines)
	return strings.Join(append(lines, ending), " | ")
}

// messages puts a response body into words: its gRPC messages, compressed ones as what they hold.
func messages(body []byte) []string {
	var out []string
	for len(body) >= 5 {
		flag, n := body[0], binary.BigEndian.Uint32(body[1:])
		if uint32(len(body)-5) < n {
			break
		}
		content := body[5 : 5+n]
		body = body[5+n:]
		if flag == 1 {
			if z, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
				content, _ = io.ReadAll(z)
			}
		}
		if len(content) > 4096 {
			out = append(out, "large message")
		} else {
			out = append(out, fmt.Sprintf("message(flag %d, %x)", flag, content))
		}
	}
	if len(body) > 0 {
		out = append(out, fmt.Sprintf("rest(%x)", body[:min(len(body), 64)]))
	}
	return out
}

func asNetError(err error, target *net.Error) bool {
	e, ok := err.(net.Error)
	if ok {
		*target = e
	}
	return ok
}

type conversation struct {
	name string
	talk func(w *wireConn) string
}

const (
	rangePath    = "/etcdserverpb.KV/Range"
	putPath      = "/etcdserverpb.KV/Put"
	watchPath    = "/etcdserverpb.Watch/Watch"
	snapshotPath = "/etcdserverpb.Maintenance/Snapshot"
)

// single is a call on stream 1 with these headers and this body; nil sends no DATA at all.
func single(name string, hs []header, body []byte) conversation {
	return conversation{name, func(w *wireConn) string {
		w.hello()
		w.headers(1, false, hs)
		if body != nil {
			w.data(1, true, body)
		}
		return w.listen(1)
	}}
}

func conversations() []conversation {
	get, _ := (&pb.RangeRequest{Key: []byte("absent")}).Marshal()
	whole := message(0, get)
	var list []conversation
	add := func(c conversation) { list = append(list, c) }

	add(single("healthy", grpcHeaders(rangePath), whole))
	for _, path := range []string{"/etcdserverpb.KV/Nope", "/no.Such/Range", "/etcdserverpb.KV", "/", "/a.B/C/",
		"/etcdserverpb.KV/Range/", "/etcdserverpb.KV/Range?x=1", "etcdserverpb.KV/Range", "//", "/etcdserverpb.KV/"} {
		add(single("path "+path, grpcHeaders(path), whole))
	}
	for _, ct := range []string{"application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+json",
		"application/grpcx", "application/grpc-web", "Application/grpc", "text/plain", "application/json"} {
		add(single("content-type "+ct, grpcHeaders(rangePath, header{"content-type", ct}), whole))
	}
	add(single("content-type missing", grpcHeaders(rangePath, header{"content-type", ""}), whole))
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		add(single("method "+method, grpcHeaders(rangePath, header{":method", method}), whole))
	}
	for _, timeout := range []string{"5X", "S", "123456789S", "0S", "1n", "10S", "-1S", "1.5S", " 1S", "99999999H", "1"} {
		add(single("grpc-timeout "+timeout, grpcHeaders(rangePath, header{"grpc-timeout", timeout}), whole))
	}
	add(single("te missing", grpcHeaders(rangePath, header{"te", ""}), whole))
	add(single("te gzip", grpcHeaders(rangePath, header{"te", "gzip"}), whole))
	add(single("authority missing", grpcHeaders(rangePath, header{":authority", ""}), whole))
	add(single("scheme missing", grpcHeaders(rangePath, header{":scheme", ""}), whole))
	add(single("path missing", grpcHeaders(rangePath, header{":path", ""}), whole))
	add(single("method missing", grpcHeaders(rangePath, header{":method", ""}), whole))
	add(single("connection header", grpcHeaders(rangePath, header{"connection", "keep-alive"}), whole))
	add(single("upper-case header", grpcHeaders(rangePath, header{"X-Upper", "1"}), whole))
	add(single("bad -bin header", grpcHeaders(rangePath, header{"x-bin", "!!!"}), whole))
	add(single("good -bin header", grpcHeaders(rangePath, header{"x-bin", "AAEC"}), whole))
	add(single("client-api-version not UTF-8", grpcHeaders(rangePath, header{"client-api-version", "\xff\xfe"}), whole))
	add(single("pseudo header after regular", append(grpcHeaders(rangePath), header{":path", rangePath}), whole))
	add(single("unknown pseudo header", append([]header{{":strange", "1"}}, grpcHeaders(rangePath)...), whole))
	add(single("content-length wrong", grpcHeaders(rangePath, header{"content-length", "1"}), whole))

	for _, enc := range []string{"gzip", "identity", "snappy", "deflate"} {
		hs := grpcHeaders(rangePath, header{"grpc-encoding", enc})
		add(single("encoding "+enc+" flag 0", hs, whole))
		add(single("encoding "+enc+" flag 1, not compressed", hs, message(1, get)))
	}
	add(single("accept-encoding gzip", grpcHeaders(rangePath, header{"grpc-accept-encoding", "gzip"}), whole))
	add(single("flag 1 without encoding", grpcHeaders(rangePath), message(1, get)))
	add(single("flag 2", grpcHeaders(rangePath), message(2, get)))
	add(single("flag 255", grpcHeaders(rangePath), message(255, get)))

	bodies := []struct {
		name string
		body []byte
	}{
		{"no message", []byte{}},
		{"half a prefix", whole[:3]},
		{"half a message", whole[:len(whole)-2]},
		{"prefix only", message(0, nil)},
		{"length without body", []byte{0, 0, 0, 0, 9}},
		{"two messages", append(append([]byte(nil), whole...), whole...)},
		{"message and a half", append(append([]byte(nil), whole...), whole[:4]...)},
		{"truncated field", message(0, []byte{0x0a, 0x05, 'a'})},
		{"truncated varint", message(0, []byte{0x18, 0x80})},
		{"varint of 11 bytes", message(0, append([]byte{0x18}, bytes.Repeat([]byte{0xff}, 11)...))},
		{"wrong wire type", message(0, []byte{0x08, 0x01})},
		{"wrong wire type of a number", message(0, []byte{0x1a, 0x01, 'x'})},
		{"field number 0", message(0, []byte{0x02, 0x00})},
		{"unknown field", message(0, append([]byte{0xf8, 0x3f, 0x01}, get...))},
		{"unknown group", message(0, append([]byte{0xf3, 0x3f, 0x08, 0x01, 0xf4, 0x3f}, get...))},
		{"open group", message(0, []byte{0xf3, 0x3f, 0x08, 0x01})},
		{"end of no group", message(0, []byte{0xf4, 0x3f})},
		{"wire type 6", message(0, []byte{0x0e})},
		{"wire type 7", message(0, []byte{0x0f})},
		{"negative length", message(0, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})},
		{"huge length", message(0, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})},
		{"key twice", message(0, []byte{0x0a, 0x01, 'a', 0x0a, 0x01, 'b'})},
		{"empty key", message(0, []byte{0x0a, 0x00})},
	}
	for _, b := range bodies {
		add(single("unary, "+b.name, grpcHeaders(rangePath), b.body))
		add(single("watch, "+b.name, grpcHeaders(watchPath), b.body))
	}
	add(single("snapshot, no message", grpcHeaders(snapshotPath), []byte{}))
	add(single("snapshot, two messages", grpcHeaders(snapshotPath), append(message(0, nil), message(0, nil)...)))
	add(single("snapshot, half a prefix", grpcHeaders(snapshotPath), []byte{0, 0}))

	add(conversation{"message over the limit", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(putPath))
		w.data(1, false, []byte{0, 0, 0x40, 0, 0}) // 4 MiB announced, nothing sent
		return w.listen(1)
	}})
	add(conversation{"message of 4 GiB announced", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(putPath))
		w.data(1, false, []byte{0, 0xff, 0xff, 0xff, 0xff})
		return w.listen(1)
	}})
	add(conversation{"message just over the limit", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(putPath))
		w.data(1, false, []byte{0, 0, 0x20, 0, 1})
		return w.listen(1)
	}})
	add(conversation{"request in small pieces", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(rangePath))
		for i := range whole {
			w.data(1, i == len(whole)-1, whole[i:i+1])
		}
		return w.listen(1)
	}})
	add(conversation{"many calls at once", func(w *wireConn) string {
		w.hello()
		var streams []uint32
		for s := uint32(1); s < 60; s += 2 {
			w.headers(s, false, grpcHeaders(rangePath))
			streams = append(streams, s)
		}
		for i := range streams {
			w.data(streams[len(streams)-1-i], true, whole)
		}
		return w.listen(streams...)
	}})
	add(conversation{"reset before the body", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(rangePath))
		_ = w.framer.WriteRSTStream(1, http2.ErrCodeCancel)
		w.headers(3, false, grpcHeaders(rangePath))
		w.data(3, true, whole)
		return w.listen(3)
	}})
	add(conversation{"data after the end", func(w *wireConn) string {
		w.hello()
		w.headers(1, false, grpcHeaders(rangePath))
		w.data(1, true, whole)
		w.data(1, true, whole)
		w.headers(3, false, grpcHeaders(rangePath))
		w.data(3, true, whole)
		return w.listen(3)
	}})
	add(conversation{"ping", func(w *wireConn) string {
		w.hello()
		_ = w.framer.WritePing(false, [8]byte{1, 2, 3})
		w.headers(1, false, grpcHeaders(rangePath))
		w.data(1, true, whole)
		return w.listen(1)
	}})
	add(conversation{"too many pings", func(w *wireConn) string {
		w.hello()
		for i := range 8 {
			_ = w.framer.WritePing(false, [8]byte{byte(i)})
			time.Sleep(20 * time.Millisecond)
		}
		return strings.ReplaceAll(w.listen(), "pong ", "")
	}})
	add(conversation{"client goaway, then a call", func(w *wireConn) string {
		w.hello()
		_ = w.framer.WriteGoAway(0, http2.ErrCodeNo, nil)
		w.headers(1, false, grpcHeaders(rangePath))
		w.data(1, true, whole)
		return w.listen(1)
	}})
	raw := func(name string, b []byte) {
		add(conversation{name, func(w *wireConn) string {
			_, _ = w.conn.Write(b)
			_ = w.conn.SetReadDeadline(time.Now().Add(silence))
			head := make([]byte, 32)
			n, err := io.ReadFull(w.conn, head)
			switch e, ok := err.(net.Error); {
			case ok && e.Timeout():
				return fmt.Sprintf("%q silent", head[:n])
			case err != nil:
				return fmt.Sprintf("%q closed", head[:n])
			}
			return fmt.Sprintf("%q", head[:n])
		}})
	}
	raw("garbage instead of a preface", []byte("\x00\x01\x02\x03 this is nothing\r\n\r\n\x00\x00\x00\x00"))
	raw("unknown HTTP method", []byte("BREW / HTTP/1.1\r\nHost: x\r\n\r\n"))
	raw("HTTP/1.1 get", []byte("GET /nothing-here HTTP/1.1\r\nHost: x\r\n\r\n"))
	raw("HTTP/1.1 without host", []byte("GET /version HTTP/1.1\r\n\r\n"))
	raw("HTTP/9.9", []byte("GET /version HTTP/9.9\r\nHost: x\r\n\r\n"))
	raw("nothing at all", nil)
	raw("half a request line", []byte("GET /ver"))

	frames := func(name string, send func(w *wireConn)) {
		add(conversation{name, func(w *wireConn) string {
			w.hello()
			send(w)
			return w.listen(1)
		}})
	}
	frames("data on an idle stream", func(w *wireConn) { w.data(1, true, whole) })
	frames("headers on stream 0", func(w *wireConn) { w.headers(0, false, grpcHeaders(rangePath)) })
	frames("headers on an even stream", func(w *wireConn) { w.headers(2, false, grpcHeaders(rangePath)) })
	frames("window overflow", func(w *wireConn) { _ = w.framer.WriteWindowUpdate(0, 1<<31-1) })
	frames("window update of 0", func(w *wireConn) { _ = w.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, []byte{0, 0, 0, 0}) })
	frames("settings of 5 bytes", func(w *wireConn) { _ = w.framer.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{0, 1, 0, 0, 0}) })
	frames("frame too large", func(w *wireConn) { _ = w.framer.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385)) })
	frames("unknown frame type", func(w *wireConn) {
		_ = w.framer.WriteRawFrame(0x77, 0, 0, []byte("hello"))
		w.headers(1, false, grpcHeaders(rangePath))
		w.data(1, true, whole)
	})
	frames("headers that do not decode", func(w *wireConn) {
		_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
	})
	frames("continuation missing", func(w *wireConn) {
		_ = w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndHeaders: false})
		w.data(1, true, whole)
	})
	frames("large headers", func(w *wireConn) {
		w.headers(1, false, grpcHeaders(rangePath, header{"x-large", strings.Repeat("a", 30_000)}))
		w.data(1, true, whole)
	})
	frames("push promise from the client", func(w *wireConn) {
		_ = w.framer.WriteRawFrame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, []byte{0, 0, 0, 2, 0x82})
	})
	return list
}

// stalled holds connections open in every unfinished state, and meanwhile asks on another one: it must be answered.
func stalled(endpoint string) error {
	get, _ := (&pb.RangeRequest{Key: []byte("absent")}).Marshal()
	whole := message(0, get)
	for i := range 40 {
		w, err := openWire(endpoint)
		if err != nil {
			return err
		}
		defer w.conn.Close()
		switch i % 4 {
		case 0: // says nothing
		case 1:
			_, _ = io.WriteString(w.conn, http2.ClientPreface[:10])
		case 2:
			w.hello()
			w.headers(1, false, grpcHeaders(rangePath))
			w.data(1, false, whole[:4])
		case 3: // reads nothing, and gives no window for the answer
			_, _ = io.WriteString(w.conn, http2.ClientPreface)
			_ = w.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			w.headers(1, false, grpcHeaders(rangePath))
			w.data(1, true, whole)
		}
	}
	begin := time.Now()
	w, err := openWire(endpoint)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	w.hello()
	w.headers(1, false, grpcHeaders(rangePath))
	w.data(1, true, whole)
	if answer := w.listen(1); !strings.Contains(answer, `grpc-status="0"`) {
		return fmt.Errorf("beside stalled connections a call was answered by %s after %v", answer, time.Since(begin))
	}
	return nil
}

func converse(endpoint string, list []conversation) []string {
	out := make([]string, len(list))
	slots := make(chan struct{}, 40)
	var all sync.WaitGroup
	for i, c := range list {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w, err := openWire(endpoint)
			if err != nil {
				out[i] = err.Error()
				return
			}
			defer w.conn.Close()
			out[i] = c.talk(w)
		})
	}
	all.Wait()
	return out
}

func runMalformed(args []string) error {
	flags := flag.NewFlagSet("malformed", flag.ExitOnError)
	ours := flags.String("ours", "", "HOST:PORT of the member under test")
	real := flags.String("real", "", "HOST:PORT of the real etcd")
	known := flags.String("known", "", "list of known differences")
	verbose := flags.Bool("verbose", false, "print every answer")
	_ = flags.Parse(args)
	r, err := newReport(*known)
	if err != nil {
		return err
	}
	r.limit = 1000
	list := conversations()
	var both sync.WaitGroup
	var a, b []string
	both.Go(func() { a = converse(*ours, list) })
	both.Go(func() { b = converse(*real, list) })
	both.Wait()
	// Timing decides on a loaded machine whether a late frame is still seen; a difference counts if it stays.
	for try := 0; try < 2; try++ {
		var again []conversation
		var where []int
		for i := range list {
			if a[i] != b[i] && !r.known["malformed/"+list[i].name] {
				again = append(again, list[i])
				where = append(where, i)
			}
		}
		if len(again) == 0 {
			break
		}
		a2, b2 := converse(*ours, again), converse(*real, again)
		for j, i := range where {
			a[i], b[i] = a2[j], b2[j]
		}
	}
	for i, c := range list {
		if *verbose {
			fmt.Printf("%s\n    %s\n", c.name, b[i])
		}
		if a[i] != b[i] {
			r.add("malformed/"+c.name, fmt.Sprintf("  ours %s\n  real %s", a[i], b[i]))
		}
	}
	for name, endpoint := range map[string]string{"ours": *ours, "real": *real} {
		if err := stalled(endpoint); err != nil {
			r.add("malformed/stalled", fmt.Sprintf("  %s: %v", name, err))
		}
	}
	fmt.Printf("%d conversations\n", len(list))
	return r.finish("malformed input")
}
