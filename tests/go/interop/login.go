package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// login drives the Go client as programs use it that log in by a password. The driver has made the users root (pw-root)
// and ann (pw-ann, who may do all below team/), and a member whose tokens live for two seconds without use.

type loginProgram struct {
	endpoint string
	tls      *tls.Config
	driver   *bufio.Scanner
}

func (p *loginProgram) client(user, password string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{p.endpoint}, DialTimeout: 10 * time.Second, TLS: p.tls,
		Username: user, Password: password, Logger: zap.NewNop()})
}

// restart asks the driver to stop and start the member: tokens of before are gone then.
func (p *loginProgram) restart() error {
	fmt.Println("RESTART")
	if !p.driver.Scan() {
		return errors.New("the driver did not answer")
	}
	return nil
}

func wantError(got, expected error) error {
	return want(errors.Is(got, expected), "%v, not %v", got, expected)
}

func (p *loginProgram) refusals(ctx context.Context) error {
	if c, err := p.client("ann", "wrong"); err == nil {
		c.Close()
		return errors.New("a wrong password logs in")
	} else if err := wantError(err, rpctypes.ErrAuthFailed); err != nil {
		return err
	}
	nobody, err := p.client("", "")
	if err != nil {
		return err
	}
	defer nobody.Close()
	_, err = nobody.Put(ctx, "team/a", "1")
	return wantError(err, rpctypes.ErrUserEmpty)
}

func (p *loginProgram) rights(ctx context.Context, ann *clientv3.Client) error {
	if _, err := ann.Put(ctx, "team/a", "1"); err != nil {
		return err
	}
	if _, err := ann.Put(ctx, "team/a", "2", clientv3.WithPrevKV()); err != nil {
		return err
	}
	got, err := ann.Get(ctx, "team/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if err := want(got.Count == 1 && string(got.Kvs[0].Value) == "2", "got %v", got); err != nil {
		return err
	}
	for name, do := range map[string]func() error{
		"put":     func() error { _, err := ann.Put(ctx, "other", "1"); return err },
		"get":     func() error { _, err := ann.Get(ctx, "team/", clientv3.WithFromKey()); return err },
		"delete":  func() error { _, err := ann.Delete(ctx, "\x00", clientv3.WithFromKey()); return err },
		"compact": func() error { _, err := ann.Compact(ctx, 2); return err },
		"users":   func() error { _, err := ann.UserList(ctx); return err },
		"txn": func() error {
			_, err := ann.Txn(ctx).Then(clientv3.OpTxn(nil, nil, []clientv3.Op{clientv3.OpPut("other", "1")})).Commit()
			return err
		},
	} {
		if err := wantError(do(), rpctypes.ErrPermissionDenied); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	watch := <-ann.Watch(ctx, "other")
	return want(watch.Canceled && watch.Err() != nil, "a watch of another's key: %v", watch)
}

// lasting checks that a watch, a lease and a lock go on while tokens end and the member restarts. The lease is long: the
// client's keep-alives do not survive the loss of their token at a real etcd either.
func (p *loginProgram) lasting(ctx context.Context, ann *clientv3.Client) error {
	watch := ann.Watch(ctx, "team/watched")
	lease, err := ann.Grant(ctx, 100)
	if err != nil {
		return err
	}
	alive, err := ann.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range alive {
		}
	}()
	if _, err := ann.Put(ctx, "team/leased", "1", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	session, err := concurrency.NewSession(ann, concurrency.WithTTL(100))
	if err != nil {
		return err
	}
	lock := concurrency.NewMutex(session, "team/lock")
	if err := lock.Lock(ctx); err != nil {
		return err
	}
	for i, during := range []func() error{
		func() error { return nil },
		func() error { time.Sleep(4 * time.Second); return nil }, // longer than an idle token lives
		p.restart,
		func() error { time.Sleep(4 * time.Second); return nil },
	} {
		if err := during(); err != nil {
			return err
		}
		value := fmt.Sprint(i)
		if _, err := ann.Put(ctx, "team/watched", value); err != nil {
			return fmt.Errorf("put %d: %w", i, err)
		}
		select {
		case w := <-watch:
			if err := want(w.Err() == nil && len(w.Events) == 1 && string(w.Events[0].Kv.Value) == value, "watch %d: %v %v", i, w, w.Err()); err != nil {
				return err
			}
		case <-time.After(15 * time.Second):
			return fmt.Errorf("watch %d: no event", i)
		}
		got, err := ann.Get(ctx, "team/leased")
		if err != nil {
			return fmt.Errorf("get %d: %w", i, err)
		}
		if err := want(got.Count == 1, "get %d: the lease has ended", i); err != nil {
			return err
		}
	}
	if err := lock.Unlock(ctx); err != nil {
		return err
	}
	return session.Close()
}

func (p *loginProgram) administration(ctx context.Context, ann *clientv3.Client) error {
	root, err := p.client("root", "pw-root")
	if err != nil {
		return err
	}
	defer root.Close()
	status, err := root.AuthStatus(ctx)
	if err != nil {
		return err
	}
	if err := want(status.Enabled && status.AuthRevision > 5, "status %v", status); err != nil {
		return err
	}
	if _, err := root.UserChangePassword(ctx, "ann", "next"); err != nil {
		return err
	}
	if _, err := ann.Put(ctx, "team/a", "3"); err == nil {
		return errors.New("a client with the old password goes on")
	}
	again, err := p.client("ann", "next")
	if err != nil {
		return err
	}
	defer again.Close()
	if _, err := again.Put(ctx, "team/a", "4"); err != nil {
		return err
	}
	if _, err := root.UserRevokeRole(ctx, "ann", "team"); err != nil {
		return err
	}
	_, err = again.Put(ctx, "team/a", "5")
	if err := wantError(err, rpctypes.ErrPermissionDenied); err != nil {
		return err
	}
	if _, err := root.UserGrantRole(ctx, "ann", "team"); err != nil {
		return err
	}
	if _, err := again.Put(ctx, "team/a", "6"); err != nil {
		return err
	}
	if _, err := root.UserChangePassword(ctx, "ann", "pw-ann"); err != nil {
		return err
	}
	_, err = root.Delete(ctx, "team/", clientv3.WithPrefix())
	return err
}

func runLogin(args []string) error {
	flags := flag.NewFlagSet("login", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT, or an https URL")
	ca := flags.String("ca", "", "file of the authority")
	_ = flags.Parse(args)
	p := &loginProgram{endpoint: *endpoint, driver: bufio.NewScanner(os.Stdin)}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		p.tls = &tls.Config{RootCAs: x509.NewCertPool()}
		p.tls.RootCAs.AppendCertsFromPEM(pem)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
	defer cancel()
	s := &steps{}
	var ann *clientv3.Client
	s.do("refusals", func() error { return p.refusals(ctx) })
	s.do("login", func() (err error) { ann, err = p.client("ann", "pw-ann"); return err })
	s.do("rights", func() error { return p.rights(ctx, ann) })
	s.do("tokens that end under a watch, a lease and a lock", func() error { return p.lasting(ctx, ann) })
	s.do("administration", func() error { return p.administration(ctx, ann) })
	if ann != nil {
		ann.Close()
	}
	return s.err
}
