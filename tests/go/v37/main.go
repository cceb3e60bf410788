// The real etcd 3.7: a member for the tests that move a data directory between versions and for RangeStream.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
