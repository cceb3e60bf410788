package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// KV.RangeStream came with 3.7. Its request is Range's, its answer a message whose only field, 1, holds a
// RangeResponse; so 3.6's messages do, with the method called by name.

type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := v.(*pb.RangeRequest).Marshal()
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawCodec{}

func rangeStream(ctx context.Context, s *server, r *pb.RangeRequest) ([]*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/etcdserverpb.KV/RangeStream",
		grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(r); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var out []*pb.RangeResponse
	for {
		var body []byte
		if err := stream.RecvMsg(&body); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, err
		}
		chunk := &pb.RangeResponse{}
		if len(body) > 0 {
			n, k := binary.Uvarint(body[1:])
			if body[0] != 0x0a || k <= 0 || int(n) != len(body)-1-k {
				return out, fmt.Errorf("not a RangeStreamResponse: %x", body[:min(len(body), 40)])
			}
			if err := chunk.Unmarshal(body[1+k:]); err != nil {
				return out, err
			}
		}
		out = append(out, chunk)
	}
}

func runRangeStream(args []string) error {
	flags := flag.NewFlagSet("rangestream", flag.ExitOnError)
	ours := flags.String("ours", "", "HOST:PORT of the member under test")
	real := flags.String("real", "", "HOST:PORT of the real etcd 3.7")
	known := flags.String("known", "", "list of known differences")
	requests := flags.Int("requests", 1500, "random requests to send")
	seed := flags.Int64("seed", time.Now().UnixNano(), "of the requests")
	_ = flags.Parse(args)
	fmt.Printf("seed %d, %d requests\n", *seed, *requests)
	r, err := newReport(*known)
	if err != nil {
		return err
	}
	d := &differential{ctx: context.Background(), gen: newGenerator(*seed), report: r, methods: map[string]int{}}
	if d.ours, err = dial("ours", *ours); err != nil {
		return err
	}
	if d.real, err = dial("real", *real); err != nil {
		return err
	}
	g := d.gen
	// Values of the same length each round, long enough that chunks grow and shrink.
	fill := func(value int, keys int) {
		for i := range keys {
			d.put(&pb.PutRequest{Key: fmt.Appendf(nil, "k%02d", i), Value: bytes.Repeat([]byte("v"), value)})
		}
	}
	fill(10, 100)
	streams := func(req *pb.RangeRequest) {
		d.number++
		var both sync.WaitGroup
		var a, b []*pb.RangeResponse
		var aerr, berr error
		both.Go(func() { a, aerr = rangeStream(d.ctx, d.ours, req) })
		both.Go(func() { b, berr = rangeStream(d.ctx, d.real, req) })
		both.Wait()
		for _, chunks := range [][]*pb.RangeResponse{a, b} {
			for _, c := range chunks {
				canonicalRange(req, c)
			}
		}
		differences := append(diffErrors(aerr, berr), diff(a, b)...)
		for i, f := range differences {
			if i == 3 {
				break
			}
			r.add("rangestream/"+f.field(), fmt.Sprintf("  request %d RangeStream %+v\n  %v\n  chunks ours %s, real %s",
				d.number, req, f, sizes(a), sizes(b)))
		}
	}
	for d.number < *requests {
		switch n := g.rnd.Intn(100); {
		case n < 70:
			req := g.rangeRequest()
			if g.chance(40) {
				req.Key, req.RangeEnd = []byte{0}, []byte{0}
			}
			if g.chance(60) {
				req.SortOrder, req.SortTarget = 0, 0
				req.MinModRevision, req.MaxModRevision, req.MinCreateRevision, req.MaxCreateRevision = 0, 0, 0, 0
			}
			if req.SortOrder == pb.RangeRequest_NONE {
				req.SortTarget = pb.RangeRequest_KEY // see differences.md
			}
			streams(req)
		case n < 90:
			// Leases show in kvs; 3.7 and 3.6 differ elsewhere, which is not the subject here.
			p := g.putRequest()
			p.Lease, p.IgnoreLease, p.IgnoreValue = 0, false, false
			d.put(p)
		case n < 95:
			d.deleteRange(&pb.DeleteRangeRequest{Key: g.key()})
		case n < 97:
			d.compact(g.compactRequest())
		default:
			if g.chance(10) {
				fill([]int{10, 20_000, 200_000}[g.rnd.Intn(3)], 10+g.rnd.Intn(30))
			}
		}
	}
	return r.finish("RangeStream")
}

func sizes(chunks []*pb.RangeResponse) string {
	var out []int
	for _, c := range chunks {
		out = append(out, len(c.Kvs))
	}
	return fmt.Sprint(out)
}
