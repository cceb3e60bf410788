// The clients of the interop tests: what talks to a member under test, and to a real etcd beside it. It starts
// no servers; tests/lib/members.py does, and hands over endpoints.
//
//	interop differential --ours HOST:PORT --real HOST:PORT ...   the same random requests to both, answers compared
//	interop rangestream  --ours HOST:PORT --real HOST:PORT ...   the same for KV.RangeStream of 3.7
//	interop malformed    --ours HOST:PORT --real HOST:PORT ...   broken HTTP/2 and gRPC input, answers compared
//	interop journal      --endpoint HOST:PORT ...                writers that know what was acknowledged
//	interop client       --endpoint HOST:PORT                    every operation once, by the Go client
//	interop login        --endpoint HOST:PORT                    the Go client with users and passwords
//	interop kubernetes   --endpoint HOST:PORT ...                the request pattern of a Kubernetes API server
//	interop impatient    --endpoint HOST:PORT ...                clients that cancel, on one connection with others
//	interop load         --endpoint HOST:PORT ...                load for tests/bench/compare.py
//	interop stalls       --endpoint HOST:PORT --phase P      work that may hold others up, for tests/bench/stalls.py
//	interop flood        --endpoint HOST:PORT --kind K       one attacker, for tests/bench/floods.py
//	interop bystander    --endpoint HOST:PORT                who measures what others notice of it
//	interop ctl                                              single calls to the members of a cluster, codes and texts told
//	interop twin                                             the same call to several members, by name and as JSON
//	interop links                                            what stands between the members of a cluster, to cut and delay
//	interop cluster      --endpoints HOST:PORT,...           clients of a cluster, and the check of all they saw
//	interop locks        --ours HOST:PORT --real HOST:PORT   the same calls for locks and elections to both, answers compared
//	interop contenders   --endpoints HOST:PORT,...           who contend for one lock, some of whom die, and the check of its history
//
// Exit codes: 0 passed, 1 a difference or a failed check, 2 wrong usage.
package main

import (
	"fmt"
	"os"
)

func main() {
	programs := map[string]func(args []string) error{
		"differential": runDifferential,
		"rangestream":  runRangeStream,
		"malformed":    runMalformed,
		"journal":      runJournal,
		"client":       runClient,
		"login":        runLogin,
		"kubernetes":   runKubernetes,
		"impatient":    runImpatient,
		"load":         runLoad,
		"stalls":       runStalls,
		"flood":        runFlood,
		"bystander":    runBystander,
		"ctl":          runCtl,
		"twin":         runTwin,
		"links":        runLinks,
		"cluster":      runCluster,
		"locks":        runLocks,
		"contenders":   runContenders,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: interop differential|rangestream|malformed|journal|client|login|kubernetes|impatient|load|stalls|flood|bystander|ctl|twin|links|cluster ARGS...")
		fmt.Fprintln(os.Stderr, "usage: interop differential|rangestream|malformed|journal|client|kubernetes|impatient|load|stalls|flood|bystander|ctl|links|cluster|locks|contenders ARGS...")
		os.Exit(2)
	}
	if err := programs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}
