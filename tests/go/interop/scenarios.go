package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// What chance would not draw: sizes at the limits, long replays, expiry, the snapshot stream, metadata.
func (d *differential) scenarios() error {
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"sizes", d.sizes}, {"large answers", d.largeAnswers}, {"stream ends", d.streamEnds}, {"txn limits", d.txnLimits}, {"long replay", d.longReplay}, {"fragments", d.fragments},
		{"expiry", d.expiry}, {"server-chosen lease", d.serverChosenLease}, {"snapshot stream", d.snapshotStream},
		{"metadata", d.metadata}, {"health", d.healthService}, {"progress", d.progress},
	} {
		if d.skip[s.name] {
			continue
		}
		before := d.report.failed
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if d.report.failed > before {
			fmt.Println("in scenario:", s.name)
		}
	}
	return nil
}

// The limit on a request counts the marshalled raft request; the two sides of it, and of the message limit.
func (d *differential) sizes() error {
	for _, n := range []int{1_572_864 - 200, 1_572_864, 2 << 20, 3 << 20} {
		d.put(&pb.PutRequest{Key: []byte("big"), Value: bytes.Repeat([]byte("x"), n)})
	}
	d.deleteRange(&pb.DeleteRangeRequest{Key: []byte("big"), PrevKv: true})
	return nil
}

// Answers far larger than any window or frame, and many of them at once.
func (d *differential) largeAnswers() error {
	for i := range 6 {
		d.put(&pb.PutRequest{Key: fmt.Appendf(nil, "large/%d", i), Value: bytes.Repeat([]byte{'a' + byte(i)}, 1_000_000)})
	}
	var all sync.WaitGroup
	var a, b [8]*pb.RangeResponse
	var errs [16]error
	all.Add(16)
	for i := range 8 {
		for j, s := range []*server{d.ours, d.real} {
			go func() {
				defer all.Done()
				ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
				defer cancel()
				resp, err := s.kv.Range(ctx, &pb.RangeRequest{Key: []byte("large/"), RangeEnd: []byte("large0"), Serializable: i%2 == 0})
				errs[2*i+j] = err
				if j == 0 {
					a[i] = resp
				} else {
					b[i] = resp
				}
			}()
		}
	}
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for i := range a {
		for _, f := range diff(a[i], b[i]) {
			d.report.add("rpc/Range/"+f.field(), fmt.Sprintf("  large answer %d: %v", i, f))
		}
	}
	d.deleteRange(&pb.DeleteRangeRequest{Key: []byte("large/"), RangeEnd: []byte("large0")})
	return nil
}

// A half-closed keepalive stream answers what it was asked and ends; a half-closed watch stream goes on.
func (d *differential) streamEnds() error {
	d.grant(&pb.LeaseGrantRequest{ID: 777, TTL: 500})
	var said [2]string
	for i, s := range []*server{d.ours, d.real} {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		alive, err := s.lease.LeaseKeepAlive(ctx)
		if err != nil {
			return err
		}
		for _, id := range []int64{777, 888, 777, 0} {
			if err := alive.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
				return err
			}
		}
		if err := alive.CloseSend(); err != nil {
			return err
		}
		for err == nil {
			var r *pb.LeaseKeepAliveResponse
			if r, err = alive.Recv(); err == nil {
				said[i] += fmt.Sprintf("%d:%d ", r.ID, r.TTL)
			}
		}
		said[i] += fmt.Sprint(err)

		watch, err := s.watch.Watch(ctx)
		if err != nil {
			return err
		}
		if err := watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte("half-closed")}}}); err != nil {
			return err
		}
		if err := watch.CloseSend(); err != nil {
			return err
		}
		if r, err := watch.Recv(); err != nil || !r.Created {
			return fmt.Errorf("%s: a half-closed watch stream: %v, %w", s.name, r, err)
		}
		defer func() {
			r, err := watch.Recv()
			if err != nil || len(r.Events) != 1 {
				d.report.add("watch/half-closed", fmt.Sprintf("  %s: %v, %v", s.name, r, err))
			}
		}()
	}
	if said[0] != said[1] {
		d.report.add("rpc/LeaseKeepAlive/half-closed", fmt.Sprintf("  ours %s\n  real %s", said[0], said[1]))
	}
	d.put(&pb.PutRequest{Key: []byte("half-closed")})
	d.revoke(777)
	return nil
}

func (d *differential) txnLimits() error {
	put := func(i int) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: fmt.Appendf(nil, "limit/%03d", i)}}}
	}
	for _, n := range []int{127, 128, 129} {
		t := &pb.TxnRequest{}
		for i := range n {
			t.Success = append(t.Success, put(i))
		}
		d.txn(t)
		nested := &pb.TxnRequest{Success: append(t.Success[:n-2:n-2], &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{
			RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{put(500)}}}})}
		d.txn(nested)
	}
	d.txn(&pb.TxnRequest{})
	d.txn(&pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("limit/001"), TargetUnion: &pb.Compare_Version{Version: 3}}}})
	d.deleteRange(&pb.DeleteRangeRequest{Key: []byte("limit/"), RangeEnd: []byte("limit0"), PrevKv: true})
	return nil
}

// More than 1000 revisions behind: several batches, cut at the same revisions.
func (d *differential) longReplay() error {
	start := d.gen.revision + 1
	for i := range 1200 {
		d.put(&pb.PutRequest{Key: fmt.Appendf(nil, "replay/%d", i%7), Value: fmt.Appendf(nil, "%d", i)})
	}
	p := d.streams[0]
	if err := p.compare(d.report, d.gen.revision, "long replay"); err != nil {
		return err
	}
	for _, create := range []*pb.WatchCreateRequest{
		{Key: []byte("replay/"), RangeEnd: []byte("replay0"), StartRevision: start, PrevKv: true},
		{Key: []byte("replay/3"), StartRevision: start},
	} {
		if err := p.create(create); err != nil {
			return err
		}
		if err := p.compare(d.report, d.gen.revision, "long replay"); err != nil {
			return err
		}
	}
	return nil
}

// An answer above the message limit is split for a watcher that asks for it, at the same events.
func (d *differential) fragments() error {
	// The second revision alone, with what stood there before, is too large for one response. (A replay of several
	// revisions is cut earlier by Quoin: differences.md.)
	start := d.gen.revision + 2
	value := bytes.Repeat([]byte("f"), 40_000)
	for range 2 {
		t := &pb.TxnRequest{}
		for i := range 35 {
			t.Success = append(t.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: fmt.Appendf(nil, "fragment/%02d", i), Value: value}}})
		}
		d.txn(t)
	}
	p := d.streams[0]
	if err := p.compare(d.report, d.gen.revision, "fragments"); err != nil {
		return err
	}
	for _, fragment := range []bool{true, false} {
		if err := p.create(&pb.WatchCreateRequest{Key: []byte("fragment/"), RangeEnd: []byte("fragment0"),
			StartRevision: start, Fragment: fragment, PrevKv: true}); err != nil {
			return err
		}
		if err := p.compare(d.report, d.gen.revision, fmt.Sprintf("fragments %v", fragment)); err != nil {
			return err
		}
	}
	d.deleteRange(&pb.DeleteRangeRequest{Key: []byte("fragment/"), RangeEnd: []byte("fragment0")})
	return d.compareWatches("fragments deleted")
}

// A lease that runs out takes its keys with it, in one revision and one batch.
func (d *differential) expiry() error {
	if err := d.compareWatches("before expiry"); err != nil {
		return err
	}
	const id = 4242
	d.grant(&pb.LeaseGrantRequest{ID: id, TTL: 1})
	for _, k := range []string{"expiry/b", "expiry/a", "expiry/c"} {
		d.put(&pb.PutRequest{Key: []byte(k), Lease: id})
	}
	gone := func(s *server) (bool, error) {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		r, err := s.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
		return err == nil && r.TTL == -1 && r.GrantedTTL == 0, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a, aerr := gone(d.ours)
		b, berr := gone(d.real)
		if err := errors.Join(aerr, berr); err != nil {
			return err
		}
		if a && b {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a lease of 2 s after 20 s: expired in ours %v, in the real one %v", a, b)
		}
	}
	d.gen.revision++ // the revocation's
	d.kvRange(&pb.RangeRequest{Key: []byte("expiry/"), RangeEnd: []byte("expiry0")})
	d.leases()
	return d.compareWatches("after expiry")
}

func (d *differential) serverChosenLease() error {
	var ids [2]int64
	for i, s := range []*server{d.ours, d.real} {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		r, err := s.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 100})
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if r.ID <= 0 || r.TTL != 100 {
			return fmt.Errorf("%s: lease %d with TTL %d", s.name, r.ID, r.TTL)
		}
		ids[i] = r.ID
	}
	// The IDs differ, so the leases go before anything is hashed.
	for i, s := range []*server{d.ours, d.real} {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		_, err := s.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: ids[i]})
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	d.hash()
	return nil
}

// The stream's shape; the files in it differ in layout, so etcdutl judges them in the interchange test.
func (d *differential) snapshotStream() error {
	shape := func(s *server) (version string, err error) {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		stream, err := s.maintenance.Snapshot(ctx, &pb.SnapshotRequest{})
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		var total, promised uint64
		var last *pb.SnapshotResponse
		for n := 0; ; n++ {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return "", err
			}
			if n == 0 {
				promised = m.RemainingBytes + uint64(len(m.Blob))
				version = m.Version
			}
			if last != nil {
				sum.Write(last.Blob)
				total += uint64(len(last.Blob))
				if last.RemainingBytes != promised-total {
					return "", fmt.Errorf("remaining_bytes %d after %d of %d", last.RemainingBytes, total, promised)
				}
				if len(last.Blob) != 32768 && last.RemainingBytes != 0 {
					return "", fmt.Errorf("a blob of %d bytes before the last", len(last.Blob))
				}
			}
			if m.Version != version || m.Header != nil {
				return "", fmt.Errorf("message %d: version %q, header %v", n, m.Version, m.Header)
			}
			last = m
		}
		if last == nil || len(last.Blob) != sha256.Size || last.RemainingBytes != 0 || !bytes.Equal(last.Blob, sum.Sum(nil)) {
			return "", fmt.Errorf("the last message is not the SHA-256 of what came before")
		}
		if total != promised || total%4096 != 0 {
			return "", fmt.Errorf("%d bytes, promised %d", total, promised)
		}
		return version, nil
	}
	a, err := shape(d.ours)
	if err != nil {
		return fmt.Errorf("ours: %w", err)
	}
	b, err := shape(d.real)
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	if a != b {
		d.report.add("rpc/Snapshot/version", fmt.Sprintf("  ours %q, real %q", a, b))
	}
	return nil
}

func (d *differential) metadata() error {
	outer := d.ctx
	defer func() { d.ctx = outer }()
	for _, pairs := range [][]string{
		{"hasleader", "true"}, {"hasleader", "false"}, {"hasleader", "TRUE"}, {"client-api-version", "3.6"},
		{"token", "not a token"}, {"authorization", "Bearer x"}, {"grpcgateway-accept", "*/*"}, {"unknown", "x", "unknown", "y"},
	} {
		d.ctx = metadata.AppendToOutgoingContext(outer, pairs...)
		d.put(&pb.PutRequest{Key: []byte("metadata"), Value: []byte(pairs[0])})
		d.kvRange(&pb.RangeRequest{Key: []byte("metadata")})
	}
	d.ctx = outer
	// Methods that no server has.
	for _, method := range []string{"/etcdserverpb.KV/Nothing", "/no.Service/Method", "/etcdserverpb.KV/range"} {
		call(d, "unknown", &pb.RangeRequest{Key: []byte("x")}, func(s *server, ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
			out := &pb.RangeResponse{}
			return out, s.conn.Invoke(ctx, method, r, out, grpc.WaitForReady(true))
		}, nil)
	}
	return nil
}

func (d *differential) healthService() error {
	for _, name := range []string{"", "etcdserverpb.KV", "x"} {
		var text [2]string
		for i, s := range []*server{d.ours, d.real} {
			ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
			r, err := s.health.Check(ctx, &healthpb.HealthCheckRequest{Service: name})
			text[i] = fmt.Sprint(r.GetStatus(), err)
			stream, err := s.health.Watch(ctx, &healthpb.HealthCheckRequest{Service: name})
			if err == nil {
				r, err = stream.Recv()
			}
			text[i] += fmt.Sprint(" watch ", r.GetStatus(), err)
			list, err := s.health.List(ctx, &healthpb.HealthListRequest{})
			text[i] += fmt.Sprint(" list ", len(list.GetStatuses()), list.GetStatuses()[""].GetStatus(), err)
			cancel()
		}
		if text[0] != text[1] {
			d.report.add("rpc/Health/"+name, fmt.Sprintf("  service %q: ours %s, real %s", name, text[0], text[1]))
		}
	}
	return nil
}

// Watchers that asked for it hear of an idle store; the drivers start both members with a short interval.
func (d *differential) progress() error {
	p, err := openWatchPair(d.ctx, d.ours, d.real, true)
	if err != nil {
		return err
	}
	if err := p.create(&pb.WatchCreateRequest{Key: []byte("progress"), ProgressNotify: true}); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		count := func(w *watchLog) (asked, silent int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.progressSeen[1], w.progressSeen[0]
		}
		oursAsked, oursSilent := count(p.ours)
		realAsked, realSilent := count(p.real)
		if oursSilent+realSilent > 0 {
			return fmt.Errorf("progress for a watcher that did not ask: ours %d, real %d", oursSilent, realSilent)
		}
		if oursAsked >= 2 && realAsked >= 2 {
			return p.compare(d.report, d.gen.revision, "progress")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("progress notifications in 10 s: ours %d, real %d", oursAsked, realAsked)
		}
	}
}
