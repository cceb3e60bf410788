package main

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// No answer of a healthy member takes longer, on a busy two-core machine included.
const callTimeout = 20 * time.Second

// server is one member behind the generated stubs: no retries, no client-side checks, so that invalid requests
// reach it and its own errors come back.
type server struct {
	name        string
	conn        *grpc.ClientConn
	kv          pb.KVClient
	watch       pb.WatchClient
	lease       pb.LeaseClient
	cluster     pb.ClusterClient
	maintenance pb.MaintenanceClient
	health      healthpb.HealthClient
}

func dial(name, endpoint string) (*server, error) {
	conn, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	if err != nil {
		return nil, err
	}
	s := &server{name: name, conn: conn, kv: pb.NewKVClient(conn), watch: pb.NewWatchClient(conn),
		lease: pb.NewLeaseClient(conn), cluster: pb.NewClusterClient(conn),
		maintenance: pb.NewMaintenanceClient(conn), health: healthpb.NewHealthClient(conn)}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if _, err := s.maintenance.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true)); err != nil {
		return nil, fmt.Errorf("%s at %s does not answer: %w", name, endpoint, err)
	}
	return s, nil
}
