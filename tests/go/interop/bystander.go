package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// runBystander is a stock client that makes a steady few calls on a connection of its own, in turn a Put, a
// serializable and a linearizable Range. Each line on standard input is a number of milliseconds to measure; the
// answer is `ok ERRORS LATE` and three times `CALLS P50_US P99_US`: late are calls of more than a second. Calls leave
// when their time has come, whether earlier ones are answered or not.
func runBystander(args []string) error {
	flags := flag.NewFlagSet("bystander", flag.ExitOnError)
	endpoint := flags.String("endpoint", "", "HOST:PORT")
	rate := flags.Int("rate", 200, "calls a second")
	_ = flags.Parse(args)
	c, err := newClient(*endpoint)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Put(context.Background(), "bystander", "v"); err != nil {
		return err
	}
	do := []func(context.Context) error{
		func(ctx context.Context) error { _, err := c.Put(ctx, "bystander", "v"); return err },
		func(ctx context.Context) error {
			_, err := c.Get(ctx, "bystander", clientv3.WithSerializable())
			return err
		},
		func(ctx context.Context) error { _, err := c.Get(ctx, "bystander"); return err },
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var ms int
		if _, err := fmt.Sscan(lines.Text(), &ms); err != nil {
			return err
		}
		var mutex sync.Mutex
		var group sync.WaitGroup
		var failed, late int
		var why error
		times := make([][]time.Duration, len(do))
		every := time.Second / time.Duration(*rate)
		until := time.Now().Add(time.Duration(ms) * time.Millisecond)
		ticker := time.NewTicker(every)
		for i := 0; time.Now().Before(until); i++ {
			<-ticker.C
			group.Go(func() {
				kind := i % len(do)
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				begin := time.Now()
				err := do[kind](ctx)
				took := time.Since(begin)
				mutex.Lock()
				defer mutex.Unlock()
				times[kind] = append(times[kind], took)
				if took > time.Second {
					late++
				}
				if err != nil {
					failed++
					why = err
				}
			})
		}
		ticker.Stop()
		group.Wait()
		answer := fmt.Sprintf("ok %d %d", failed, late)
		for _, t := range times {
			slices.Sort(t)
			at := func(q float64) int64 {
				if len(t) == 0 {
					return 0
				}
				return t[min(len(t)-1, int(math.Ceil(q*float64(len(t))))-1)].Microseconds()
			}
			answer += fmt.Sprintf(" %d %d %d", len(t), at(0.5), at(0.99))
		}
		if why != nil {
			fmt.Println("a call failed:", why)
		}
		fmt.Println(answer)
	}
	return lines.Err()
}
