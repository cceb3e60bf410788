package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Every operation once, by the Go client of 3.6 as programs use it.

func newClient(endpoint string) (*clientv3.Client, error) {
	// Its log would report every refusal that is asked for here.
	return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second,
		TLS: clientTLS(), Logger: zap.NewNop()})
}

// steps runs named checks in order and stops at the first that fails.
type steps struct{ err error }

func (s *steps) do(name string, check func() error) {
	if s.err != nil {
		return
	}
	if err := check(); err != nil {
		s.err = fmt.Errorf("%s: %w", name, err)
		return
	}
	fmt.Println("ok", name)
}

func want(condition bool, format string, args ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func runClient(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	_ = flags.Parse(args)
	c, err := newClient(*endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	s := &steps{}
	s.do("put, get, delete", func() error { return clientKV(ctx, c) })
	s.do("pages and sorting", func() error { return clientPages(ctx, c) })
	s.do("txn", func() error { return clientTxn(ctx, c) })
	s.do("lease", func() error { return clientLease(ctx, c) })
	s.do("watch", func() error { return clientWatch(ctx, c) })
	s.do("compact", func() error { return clientCompact(ctx, c) })
	s.do("maintenance", func() error { return clientMaintenance(ctx, c, *endpoint) })
	s.do("alarms", func() error { return clientAlarms(ctx, c) })
	s.do("snapshot", func() error { return clientSnapshot(ctx, c) })
	s.do("members", func() error { return clientMembers(ctx, c) })
	return s.err
}

func clientKV(ctx context.Context, c *clientv3.Client) error {
	first, err := c.Put(ctx, "go/a", "1")
	if err != nil {
		return err
	}
	second, err := c.Put(ctx, "go/a", "2", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if err := want(second.PrevKv != nil && string(second.PrevKv.Value) == "1" &&
		second.Header.Revision == first.Header.Revision+1, "prev_kv: %+v", second); err != nil {
		return err
	}
	got, err := c.Get(ctx, "go/a")
	if err != nil {
		return err
	}
	if err := want(got.Count == 1 && string(got.Kvs[0].Value) == "2" && got.Kvs[0].Version == 2 &&
		got.Kvs[0].CreateRevision == first.Header.Revision && got.Kvs[0].ModRevision == second.Header.Revision, "get: %+v", got); err != nil {
		return err
	}
	old, err := c.Get(ctx, "go/a", clientv3.WithRev(first.Header.Revision), clientv3.WithSerializable())
	if err != nil {
		return err
	}
	if err := want(string(old.Kvs[0].Value) == "1", "get at an old revision: %+v", old); err != nil {
		return err
	}
	deleted, err := c.Delete(ctx, "go/a", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if err := want(deleted.Deleted == 1 && string(deleted.PrevKvs[0].Value) == "2", "delete: %+v", deleted); err != nil {
		return err
	}
	_, err = c.Put(ctx, "", "x")
	return want(errors.Is(err, rpctypes.ErrEmptyKey), "put without a key: %v", err)
}

func clientPages(ctx context.Context, c *clientv3.Client) error {
	for i := range 25 {
		if _, err := c.Put(ctx, fmt.Sprintf("go/page/%02d", i), fmt.Sprint(99-i)); err != nil {
			return err
		}
	}
	page, err := c.Get(ctx, "go/page/", clientv3.WithPrefix(), clientv3.WithLimit(10))
	if err != nil {
		return err
	}
	if err := want(len(page.Kvs) == 10 && page.More && page.Count == 25, "first page: %d of %d", len(page.Kvs), page.Count); err != nil {
		return err
	}
	rest, err := c.Get(ctx, string(page.Kvs[9].Key)+"\x00", clientv3.WithRange(clientv3.GetPrefixRangeEnd("go/page/")),
		clientv3.WithRev(page.Header.Revision))
	if err != nil {
		return err
	}
	if err := want(len(rest.Kvs) == 15 && !rest.More && string(rest.Kvs[0].Key) == "go/page/10", "second page: %+v", rest.Count); err != nil {
		return err
	}
	sorted, err := c.Get(ctx, "go/page/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend), clientv3.WithLimit(1))
	if err != nil {
		return err
	}
	if err := want(string(sorted.Kvs[0].Key) == "go/page/24", "smallest value: %+v", sorted.Kvs[0]); err != nil {
		return err
	}
	count, err := c.Get(ctx, "go/page/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if err := want(count.Count == 25 && len(count.Kvs) == 0, "count: %+v", count); err != nil {
		return err
	}
	keys, err := c.Get(ctx, "go/page/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if err := want(len(keys.Kvs) == 25 && len(keys.Kvs[3].Value) == 0, "keys only"); err != nil {
		return err
	}
	all, err := c.Delete(ctx, "go/page/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	return want(all.Deleted == 25, "deleted %d", all.Deleted)
}

func clientTxn(ctx context.Context, c *clientv3.Client) error {
	create := func(value string) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("go/txn"), "=", 0)).
			Then(clientv3.OpPut("go/txn", value)).Else(clientv3.OpGet("go/txn")).Commit()
	}
	first, err := create("1")
	if err != nil {
		return err
	}
	second, err := create("2")
	if err != nil {
		return err
	}
	if err := want(first.Succeeded && !second.Succeeded && string(second.Responses[0].GetResponseRange().Kvs[0].Value) == "1",
		"create twice: %+v %+v", first, second); err != nil {
		return err
	}
	nested, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value("go/txn"), "=", "1"), clientv3.Compare(clientv3.Version("go/txn"), "<", 2),
		clientv3.Compare(clientv3.LeaseValue("go/txn"), "=", clientv3.NoLease), clientv3.Compare(clientv3.CreateRevision("go/txn"), ">", 1)).
		Then(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value("go/none"), "=", "")},
			nil, []clientv3.Op{clientv3.OpPut("go/else", "x")}), clientv3.OpDelete("go/txn", clientv3.WithPrevKV())).Commit()
	if err != nil {
		return err
	}
	if err := want(nested.Succeeded && !nested.Responses[0].GetResponseTxn().Succeeded &&
		nested.Responses[1].GetResponseDeleteRange().Deleted == 1, "nested: %+v", nested); err != nil {
		return err
	}
	_, err = c.Txn(ctx).Then(clientv3.OpPut("go/x", "1"), clientv3.OpPut("go/x", "2")).Commit()
	return want(errors.Is(err, rpctypes.ErrDuplicateKey), "the same key twice: %v", err)
}

func clientLease(ctx context.Context, c *clientv3.Client) error {
	lease, err := c.Grant(ctx, 2)
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, "go/lease", "x", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	keeping, stop := context.WithCancel(ctx)
	alive, err := c.KeepAlive(keeping, lease.ID)
	if err != nil {
		stop()
		return err
	}
	begin := time.Now()
	for time.Since(begin) < 3*time.Second {
		if resp := <-alive; resp == nil || resp.TTL != 2 {
			stop()
			return fmt.Errorf("keepalive answered %+v", resp)
		}
	}
	ttl, err := c.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	stop()
	if err != nil {
		return err
	}
	if err := want(ttl.GrantedTTL == 2 && len(ttl.Keys) == 1 && string(ttl.Keys[0]) == "go/lease", "time to live: %+v", ttl); err != nil {
		return err
	}
	watch := c.Watch(ctx, "go/lease")
	all, err := c.Leases(ctx)
	if err != nil {
		return err
	}
	if err := want(len(all.Leases) >= 1, "leases: %+v", all); err != nil {
		return err
	}
	// Without keepalives the lease ends, and its key with it.
	select {
	case resp := <-watch:
		if err := want(len(resp.Events) == 1 && resp.Events[0].Type == mvccpb.DELETE, "expiry: %+v", resp); err != nil {
			return err
		}
	case <-time.After(15 * time.Second):
		return errors.New("a lease of 2 s had not expired after 15 s")
	}
	once, err := c.Grant(ctx, 100)
	if err != nil {
		return err
	}
	if kept, err := c.KeepAliveOnce(ctx, once.ID); err != nil || kept.TTL != 100 {
		return fmt.Errorf("keepalive once: %+v, %w", kept, err)
	}
	if _, err := c.Revoke(ctx, once.ID); err != nil {
		return err
	}
	_, err = c.Revoke(ctx, once.ID)
	if err := want(errors.Is(err, rpctypes.ErrLeaseNotFound), "revoke twice: %v", err); err != nil {
		return err
	}
	gone, err := c.TimeToLive(ctx, once.ID)
	if err != nil {
		return err
	}
	return want(gone.TTL == -1, "time to live of a revoked lease: %+v", gone)
}

func clientWatch(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start, err := c.Put(ctx, "go/watch/0", "old")
	if err != nil {
		return err
	}
	if _, err := c.Put(ctx, "go/watch/0", "new"); err != nil {
		return err
	}
	watch := c.Watch(ctx, "go/watch/", clientv3.WithPrefix(), clientv3.WithRev(start.Header.Revision), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	deletes := c.Watch(ctx, "go/watch/", clientv3.WithPrefix(), clientv3.WithFilterPut())
	if created := <-watch; !created.Created {
		return fmt.Errorf("created: %+v", created)
	}
	var events []*clientv3.Event
	collect := func(n int) error {
		for len(events) < n {
			select {
			case resp := <-watch:
				if resp.Err() != nil {
					return resp.Err()
				}
				events = append(events, resp.Events...)
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%d events, waiting for %d", len(events), n)
			}
		}
		return nil
	}
	if err := collect(2); err != nil {
		return err
	}
	if _, err := c.Txn(ctx).Then(clientv3.OpPut("go/watch/1", "a"), clientv3.OpDelete("go/watch/0")).Commit(); err != nil {
		return err
	}
	if err := collect(4); err != nil {
		return err
	}
	if err := want(events[0].IsCreate() && events[1].IsModify() && string(events[1].PrevKv.Value) == "old" &&
		events[3].Type == mvccpb.DELETE && string(events[3].PrevKv.Value) == "new", "events: %+v", events); err != nil {
		return err
	}
	select {
	case resp := <-deletes:
		if err := want(len(resp.Events) == 1 && resp.Events[0].Type == mvccpb.DELETE, "filtered: %+v", resp); err != nil {
			return err
		}
	case <-time.After(10 * time.Second):
		return errors.New("no delete event")
	}
	if err := c.RequestProgress(ctx); err != nil {
		return err
	}
	select {
	case resp := <-watch:
		return want(resp.IsProgressNotify() && resp.Header.Revision >= events[3].Kv.ModRevision, "progress: %+v", resp)
	case <-time.After(10 * time.Second):
		return errors.New("no answer to a progress request")
	}
}

func clientCompact(ctx context.Context, c *clientv3.Client) error {
	put, err := c.Put(ctx, "go/compact", "1")
	if err != nil {
		return err
	}
	last, err := c.Put(ctx, "go/compact", "2")
	if err != nil {
		return err
	}
	if _, err := c.Compact(ctx, last.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, err = c.Get(ctx, "go/compact", clientv3.WithRev(put.Header.Revision))
	if err := want(errors.Is(err, rpctypes.ErrCompacted), "get of a compacted revision: %v", err); err != nil {
		return err
	}
	_, err = c.Get(ctx, "go/compact", clientv3.WithRev(last.Header.Revision+1000))
	if err := want(errors.Is(err, rpctypes.ErrFutureRev), "get of a future revision: %v", err); err != nil {
		return err
	}
	_, err = c.Compact(ctx, last.Header.Revision)
	if err := want(errors.Is(err, rpctypes.ErrCompacted), "compact twice: %v", err); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	resp := <-c.Watch(inner, "go/compact", clientv3.WithRev(put.Header.Revision))
	return want(resp.CompactRevision == last.Header.Revision && errors.Is(resp.Err(), rpctypes.ErrCompacted), "watch from a compacted revision: %+v", resp)
}

func clientMaintenance(ctx context.Context, c *clientv3.Client, endpoint string) error {
	status, err := c.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	if err := want(status.Leader != 0 && status.Leader == status.Header.MemberId && status.DbSize > 0 && status.Version != "" &&
		len(status.Errors) == 0 && !status.IsLearner && status.StorageVersion == "3.6.0", "status: %+v", status); err != nil {
		return err
	}
	// The hash of a compaction's own revision is answered from what that compaction stored, so not at that one.
	if _, err := c.Put(ctx, "go/hash", "x"); err != nil {
		return err
	}
	one, err := c.HashKV(ctx, endpoint, 0)
	if err != nil {
		return err
	}
	two, err := c.HashKV(ctx, endpoint, one.HashRevision)
	if err != nil {
		return err
	}
	if err := want(one.Hash == two.Hash && one.HashRevision == one.Header.Revision, "HashKV: %+v %+v", one, two); err != nil {
		return err
	}
	if _, err := c.Defragment(ctx, endpoint); err != nil {
		return err
	}
	after, err := c.HashKV(ctx, endpoint, one.HashRevision)
	if err != nil {
		return err
	}
	return want(after.Hash == one.Hash, "HashKV after a defragmentation: %+v, before %+v", after, one)
}

func clientAlarms(ctx context.Context, c *clientv3.Client) error {
	list, err := c.AlarmList(ctx)
	if err != nil {
		return err
	}
	if err := want(len(list.Alarms) == 0, "alarms: %+v", list); err != nil {
		return err
	}
	_, err = c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

func clientSnapshot(ctx context.Context, c *clientv3.Client) error {
	resp, err := c.SnapshotWithVersion(ctx)
	if err != nil {
		return err
	}
	defer resp.Snapshot.Close()
	body, err := io.ReadAll(resp.Snapshot)
	if err != nil {
		return err
	}
	return want(resp.Version == "3.6.0" && len(body) > 32 && len(body)%4096 == 32 && !bytes.Equal(body[:16], make([]byte, 16)),
		"snapshot of %d bytes, version %q", len(body), resp.Version)
}

func clientMembers(ctx context.Context, c *clientv3.Client) error {
	list, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	if err := want(len(list.Members) == 1 && list.Members[0].ID == list.Header.MemberId && list.Members[0].Name == "default" &&
		len(list.Members[0].ClientURLs) == 1 && !list.Members[0].IsLearner, "members: %+v", list); err != nil {
		return err
	}
	serializable, err := c.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return err
	}
	return want(len(serializable.Members) == 1, "members, serializable: %+v", serializable)
}
