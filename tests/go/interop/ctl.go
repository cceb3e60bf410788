package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ctl makes single calls for a driver, so that it sees the code and the text a member answers with: no retries, no
// checks of a client. One JSON object comes in on a line and one goes out: {"code":"OK",...} or
// {"code":"Unavailable","message":"..."}; a code of 0 calls is never invented, "DeadlineExceeded" without an answer of
// the member has the text of the client's own clock.

type ctlRequest struct {
	Do       string
	Endpoint string
	TimeoutS float64
	Key      string
	End      string
	Value    string
	Revision int64
	Lease    int64
	TTL      int64
	Limit    int64
	ID       string // of a member, as hexadecimal digits
	URLs     []string
	Learner  bool
	Serial   bool // serializable
	Leader   bool // with the metadata hasleader
	Physical bool
	Target   string // version
	Action   string
	Alarm    string
	Count    int
	Size     int
}

type ctlAnswer = map[string]any

type ctl struct {
	conns   map[string]*grpc.ClientConn
	watches map[string]*ctlWatch
}

// ctlWatch is a watch that goes on between two calls. What it was told is asked for with "watched".
type ctlWatch struct {
	mu        sync.Mutex
	revisions []int64 // of the events, in order
	progress  []int64 // of answers without events
	end       string
	compacted int64
}

func (w *ctlWatch) follow(s pb.Watch_WatchClient) {
	for {
		r, err := s.Recv()
		w.mu.Lock()
		switch {
		case err != nil:
			w.end = status.Convert(err).Code().String() + ": " + status.Convert(err).Message()
		case r.Canceled:
			w.end, w.compacted = "canceled "+r.CancelReason, r.CompactRevision
		case len(r.Events) == 0 && !r.Created:
			w.progress = append(w.progress, r.Header.Revision)
		}
		if r != nil {
			for _, e := range r.Events {
				w.revisions = append(w.revisions, e.Kv.ModRevision)
			}
		}
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *ctl) conn(endpoint string) (*grpc.ClientConn, error) {
	if conn := c.conns[endpoint]; conn != nil {
		return conn, nil
	}
	conn, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(transportCredentials()), grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err == nil {
		c.conns[endpoint] = conn
	}
	return conn, err
}

func hexID(id uint64) string { return strconv.FormatUint(id, 16) }

func memberJSON(members []*pb.Member) []ctlAnswer {
	out := []ctlAnswer{}
	for _, m := range members {
		out = append(out, ctlAnswer{"id": hexID(m.ID), "name": m.Name, "peer_urls": m.PeerURLs, "client_urls": m.ClientURLs, "learner": m.IsLearner})
	}
	return out
}

func headerJSON(h *pb.ResponseHeader) ctlAnswer {
	return ctlAnswer{"revision": h.GetRevision(), "term": h.GetRaftTerm(), "member": hexID(h.GetMemberId()), "cluster": hexID(h.GetClusterId())}
}

func (c *ctl) call(ctx context.Context, r *ctlRequest) (ctlAnswer, error) {
	conn, err := c.conn(r.Endpoint)
	if err != nil {
		return nil, err
	}
	id, _ := strconv.ParseUint(r.ID, 16, 64)
	kv, cluster := pb.NewKVClient(conn), pb.NewClusterClient(conn)
	maintenance, lease := pb.NewMaintenanceClient(conn), pb.NewLeaseClient(conn)
	end := []byte(nil)
	if r.End != "" {
		end = []byte(r.End)
	}
	switch r.Do {
	case "status":
		s, err := maintenance.Status(ctx, &pb.StatusRequest{})
		if err != nil {
			return nil, err
		}
		a := headerJSON(s.Header)
		a["version"], a["db_size"], a["db_in_use"], a["leader"], a["index"] = s.Version, s.DbSize, s.DbSizeInUse, hexID(s.Leader), s.RaftIndex
		a["applied"], a["learner"], a["errors"], a["storage"] = s.RaftAppliedIndex, s.IsLearner, s.Errors, s.StorageVersion
		if d := s.DowngradeInfo; d != nil {
			a["downgrade"], a["downgrade_to"] = d.Enabled, d.TargetVersion
		}
		return a, nil
	case "hashkv":
		h, err := maintenance.HashKV(ctx, &pb.HashKVRequest{Revision: r.Revision})
		if err != nil {
			return nil, err
		}
		a := headerJSON(h.Header)
		a["hash"], a["compacted"], a["hashed"] = h.Hash, h.CompactRevision, h.HashRevision
		return a, nil
	case "snapshot":
		s, err := maintenance.Snapshot(ctx, &pb.SnapshotRequest{})
		if err != nil {
			return nil, err
		}
		total := 0
		for {
			part, err := s.Recv()
			if err != nil {
				if total > 0 && err.Error() == "EOF" {
					return ctlAnswer{"bytes": total}, nil
				}
				return nil, err
			}
			total += len(part.Blob)
		}
	case "defrag":
		_, err := maintenance.Defragment(ctx, &pb.DefragmentRequest{})
		return ctlAnswer{}, err
	case "alarm":
		action := pb.AlarmRequest_AlarmAction(pb.AlarmRequest_AlarmAction_value[r.Action])
		a, err := maintenance.Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: id, Alarm: pb.AlarmType(pb.AlarmType_value[r.Alarm])})
		if err != nil {
			return nil, err
		}
		alarms := []ctlAnswer{}
		for _, m := range a.Alarms {
			alarms = append(alarms, ctlAnswer{"member": hexID(m.MemberID), "alarm": m.Alarm.String()})
		}
		return ctlAnswer{"alarms": alarms}, nil
	case "move":
		_, err := maintenance.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: id})
		return ctlAnswer{}, err
	case "downgrade":
		action := pb.DowngradeRequest_DowngradeAction(pb.DowngradeRequest_DowngradeAction_value[r.Action])
		d, err := maintenance.Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: r.Target})
		return ctlAnswer{"version": d.GetVersion()}, err
	case "members":
		m, err := cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: !r.Serial})
		if err != nil {
			return nil, err
		}
		a := headerJSON(m.Header)
		a["members"] = memberJSON(m.Members)
		return a, nil
	case "add":
		m, err := cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: r.URLs, IsLearner: r.Learner})
		if err != nil {
			return nil, err
		}
		return ctlAnswer{"id": hexID(m.Member.ID), "members": memberJSON(m.Members)}, nil
	case "remove":
		m, err := cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
		return ctlAnswer{"members": memberJSON(m.GetMembers())}, err
	case "promote":
		m, err := cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: id})
		return ctlAnswer{"members": memberJSON(m.GetMembers())}, err
	case "update":
		m, err := cluster.MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: id, PeerURLs: r.URLs})
		return ctlAnswer{"members": memberJSON(m.GetMembers())}, err
	case "put":
		value := []byte(r.Value)
		if r.Size > 0 {
			value = make([]byte, r.Size)
		}
		p, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(r.Key), Value: value, Lease: r.Lease})
		if err != nil {
			return nil, err
		}
		return headerJSON(p.Header), nil
	case "puts": // Count puts of KEY/0.., for a history of some length
		var last ctlAnswer
		for i := range r.Count {
			p, err := kv.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "%s/%d", r.Key, i), Value: make([]byte, r.Size)})
			if err != nil {
				return nil, err
			}
			last = headerJSON(p.Header)
		}
		return last, nil
	case "get":
		g, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte(r.Key), RangeEnd: end, Revision: r.Revision, Serializable: r.Serial, Limit: r.Limit})
		if err != nil {
			return nil, err
		}
		a := headerJSON(g.Header)
		pairs := []ctlAnswer{}
		for _, p := range g.Kvs {
			pairs = append(pairs, ctlAnswer{"key": string(p.Key), "value": string(p.Value), "mod": p.ModRevision, "lease": p.Lease})
		}
		a["count"], a["kvs"] = g.Count, pairs
		return a, nil
	case "delete":
		d, err := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(r.Key), RangeEnd: end})
		if err != nil {
			return nil, err
		}
		a := headerJSON(d.Header)
		a["deleted"] = d.Deleted
		return a, nil
	case "txnget": // a transaction of one read
		_, err := kv.Txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{
			RequestRange: &pb.RangeRequest{Key: []byte(r.Key), Serializable: r.Serial}}}}})
		return ctlAnswer{}, err
	case "compact":
		_, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: r.Revision, Physical: r.Physical})
		return ctlAnswer{}, err
	case "grant":
		l, err := lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: r.TTL, ID: r.Lease})
		return ctlAnswer{"lease": l.GetID(), "ttl": l.GetTTL()}, err
	case "revoke":
		_, err := lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: r.Lease})
		return ctlAnswer{}, err
	case "ttl":
		l, err := lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: r.Lease, Keys: true})
		return ctlAnswer{"ttl": l.GetTTL(), "granted": l.GetGrantedTTL(), "keys": len(l.GetKeys())}, err
	case "leases":
		l, err := lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
		return ctlAnswer{"leases": len(l.GetLeases())}, err
	case "keepalive":
		if r.Leader {
			ctx = metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
		}
		s, err := lease.LeaseKeepAlive(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.Send(&pb.LeaseKeepAliveRequest{ID: r.Lease}); err != nil && !errors.Is(err, os.ErrClosed) {
			_, err = s.Recv()
			return nil, err
		}
		l, err := s.Recv()
		return ctlAnswer{"ttl": l.GetTTL()}, err
	case "watch": // creates a watch and takes the first event or cancellation
		if r.Leader {
			ctx = metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
		}
		s, err := pb.NewWatchClient(conn).Watch(ctx)
		if err != nil {
			return nil, err
		}
		_ = s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(r.Key), RangeEnd: end, StartRevision: r.Revision}}})
		for {
			w, err := s.Recv()
			if err != nil {
				return nil, err
			}
			if w.Canceled || len(w.Events) > 0 || (w.Created && r.Action == "create") {
				return ctlAnswer{"canceled": w.Canceled, "compact": w.CompactRevision, "reason": w.CancelReason, "events": len(w.Events)}, nil
			}
		}
	case "watching": // opens a watch that goes on; Value is its name
		s, err := pb.NewWatchClient(conn).Watch(context.Background())
		if err != nil {
			return nil, err
		}
		if err := s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(r.Key), RangeEnd: end, StartRevision: r.Revision, ProgressNotify: true}}}); err != nil {
			return nil, err
		}
		created, err := s.Recv()
		if err != nil {
			return nil, err
		}
		w := &ctlWatch{}
		c.watches[r.Value] = w
		go w.follow(s)
		return headerJSON(created.Header), nil
	case "watched":
		w := c.watches[r.Value]
		w.mu.Lock()
		defer w.mu.Unlock()
		return ctlAnswer{"revisions": append([]int64{}, w.revisions...), "progress": append([]int64{}, w.progress...), "end": w.end, "compacted": w.compacted}, nil
	case "health":
		h, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: r.Key})
		return ctlAnswer{"status": h.GetStatus().String()}, err
	}
	return nil, fmt.Errorf("no such call: %s", r.Do)
}

func runCtl([]string) error {
	c := &ctl{conns: map[string]*grpc.ClientConn{}, watches: map[string]*ctlWatch{}}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		r := &ctlRequest{}
		if err := json.Unmarshal(in.Bytes(), r); err != nil {
			return err
		}
		if r.TimeoutS == 0 {
			r.TimeoutS = 10
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.TimeoutS*float64(time.Second)))
		answer, err := c.call(ctx, r)
		cancel()
		if err != nil {
			s := status.Convert(err)
			answer = ctlAnswer{"code": s.Code().String(), "message": s.Message()}
		} else {
			answer["code"] = "OK"
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return in.Err()
}
