package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of v3lockpb and v3electionpb, written and read by field number: the generated ones live in etcd's
// server module.

// bytesCodec passes encoded messages through.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}
func (bytesCodec) Name() string { return "proto" }

// lockMessage builds one: bytes and numbers in the order of their fields; zero ones are left out.
type lockMessage []byte

func (m lockMessage) bytes(field protowire.Number, value string) lockMessage {
	if value == "" {
		return m
	}
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), value)
}
func (m lockMessage) number(field protowire.Number, value int64) lockMessage {
	if value == 0 {
		return m
	}
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(value))
}
func (m lockMessage) sub(field protowire.Number, value lockMessage) lockMessage {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), value)
}

func lockRequest(name string, lease int64) lockMessage {
	return lockMessage{}.bytes(1, name).number(2, lease)
}
func campaignRequest(name string, lease int64, value string) lockMessage {
	return lockMessage{}.bytes(1, name).number(2, lease).bytes(3, value)
}
func leaderKey(name, key string, rev, lease int64) lockMessage {
	return lockMessage{}.bytes(1, name).bytes(2, key).number(3, rev).number(4, lease)
}

// fields are those of a decoded message: the last value of each.
type fields struct {
	numbers map[protowire.Number]int64
	strings map[protowire.Number]string
}

func parse(m []byte) (fields, error) {
	f := fields{map[protowire.Number]int64{}, map[protowire.Number]string{}}
	for len(m) > 0 {
		number, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return f, errors.New("a broken tag")
		}
		m = m[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(m)
			if n < 0 {
				return f, errors.New("a broken number")
			}
			f.numbers[number], m = int64(v), m[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(m)
			if n < 0 {
				return f, errors.New("broken bytes")
			}
			f.strings[number], m = string(v), m[n:]
		default:
			return f, fmt.Errorf("field %d has wire type %d", number, kind)
		}
	}
	return f, nil
}

const (
	lockMethod     = "/v3lockpb.Lock/Lock"
	unlockMethod   = "/v3lockpb.Lock/Unlock"
	campaignMethod = "/v3electionpb.Election/Campaign"
	proclaimMethod = "/v3electionpb.Election/Proclaim"
	leaderMethod   = "/v3electionpb.Election/Leader"
	observeMethod  = "/v3electionpb.Election/Observe"
	resignMethod   = "/v3electionpb.Election/Resign"
)

func invoke(ctx context.Context, conn *grpc.ClientConn, method string, request lockMessage) ([]byte, error) {
	in, out := []byte(request), []byte{}
	err := conn.Invoke(ctx, method, &in, &out, grpc.ForceCodec(bytesCodec{}))
	return out, err
}

// observation is one stream of Observe.
type observation struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
}

func observe(ctx context.Context, conn *grpc.ClientConn, name string) (*observation, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, observeMethod, grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		cancel()
		return nil, err
	}
	in := []byte(lockMessage{}.bytes(1, name))
	if err := stream.SendMsg(&in); err != nil {
		cancel()
		return nil, err
	}
	return &observation{stream, cancel}, stream.CloseSend()
}

func (o *observation) next() ([]byte, error) {
	var out []byte
	err := o.stream.RecvMsg(&out)
	return out, err
}

// told is an answer without what differs between two members: who they are, their term, generated lease ids.
func told(method string, out []byte, err error) string {
	if err != nil {
		s := status.Convert(err)
		if s.Code() == codes.DeadlineExceeded {
			return "deadline exceeded" // whether the server's reset or the client's own clock comes first is open
		}
		return fmt.Sprintf("%d %s", s.Code(), s.Message())
	}
	f, err := parse(out)
	if err != nil {
		return err.Error()
	}
	header, err := parse([]byte(f.strings[1]))
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("ok revision=%d", header.numbers[3])
	for _, field := range []protowire.Number{1, 2, 4} {
		if header.numbers[field] == 0 {
			text += fmt.Sprintf(" header-field-%d-missing", field)
		}
	}
	numbers := []int{}
	for n := range f.strings {
		if n != 1 {
			numbers = append(numbers, int(n))
		}
	}
	sort.Ints(numbers)
	for _, n := range numbers {
		value := f.strings[protowire.Number(n)]
		if n == 2 && method != lockMethod && method != unlockMethod {
			inner, err := parse([]byte(value)) // a LeaderKey or a KeyValue
			if err != nil {
				return err.Error()
			}
			text += fmt.Sprintf(" 2:{%v %v}", inner.strings, inner.numbers)
			continue
		}
		text += fmt.Sprintf(" %d:%q", n, value)
	}
	return text
}

// withGenerated replaces a lease id that the server chose.
func withGenerated(text string, lease int64) string {
	text = strings.ReplaceAll(text, fmt.Sprintf("%x", lease), "LEASE")
	return strings.ReplaceAll(text, fmt.Sprint(lease), "LEASE")
}

func requireLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "hasleader", "true")
}

// state is every key as key=value@lease, create and mod revision, and the leases.
func state(ctx context.Context, c *clientv3.Client) string {
	all, err := c.Get(ctx, "\x00", clientv3.WithFromKey())
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("at %d:", all.Header.Revision)
	for _, kv := range all.Kvs {
		text += fmt.Sprintf(" %q=%q@%x %d/%d", kv.Key, kv.Value, kv.Lease, kv.CreateRevision, kv.ModRevision)
	}
	leases, err := c.Leases(ctx)
	if err != nil {
		return err.Error()
	}
	return text + fmt.Sprintf(" leases=%d", len(leases.Leases))
}
