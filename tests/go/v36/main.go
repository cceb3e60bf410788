// The real etcd 3.6 and its tools in one program, for tests that compare: the first argument (or the name the
// program is called by) says which.
//
//	oracle-3.6 etcd|etcdctl|etcdutl ARGS...
//	oracle-3.6 bbolt-check FILE      Go's own whole-file check; prints OK or the findings, exit 1
//	oracle-3.6 bbolt-dump FILE BUCKET...  all keys and values, one line each: bucket, key, value, both as hexadecimal digits
//	oracle-3.6 bbolt-spoil FILE      changes one byte of the last value in the key bucket, as a broken disk would
package main

import (
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
	ctl "go.etcd.io/etcd/etcdctl/v3/ctlv3"
	utl "go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/spf13/cobra"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: oracle-3.6 etcd|etcdctl|etcdutl|bbolt-check ARGS...")
		os.Exit(2)
	}
	program := os.Args[1]
	os.Args = append([]string{program}, os.Args[2:]...)
	switch program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "etcdctl":
		if err := ctl.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "etcdutl":
		if err := etcdutl().Execute(); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
	case "bbolt-check":
		check(os.Args[1])
	case "bbolt-dump":
		if err := dump(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "bbolt-spoil":
		if err := spoil(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "unknown program", program)
		os.Exit(2)
	}
}

// The root of the real program, which is no package that could be imported.
func etcdutl() *cobra.Command {
	root := &cobra.Command{Use: "etcdutl", Short: "An administrative command line tool for etcd3.", SuggestFor: []string{"etcdutl"}}
	root.PersistentFlags().StringVarP(&utl.OutputFormat, "write-out", "w", "simple",
		"set the output format (fields, json, protobuf, simple, table)")
	_ = root.RegisterFlagCompletionFunc("write-out", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"fields", "json", "protobuf", "simple", "table"}, cobra.ShellCompDirectiveDefault
	})
	root.AddCommand(utl.NewDefragCommand(), utl.NewSnapshotCommand(), utl.NewHashKVCommand(), utl.NewVersionCommand(),
		utl.NewCompletionCommand(), utl.NewMigrateCommand())
	root.SetHelpTemplate("{{.UsageString}}")
	cobra.EnablePrefixMatching = true
	return root
}

func check(path string) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer db.Close()
	findings := 0
	_ = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			fmt.Println(err)
			findings++
		}
		return nil
	})
	if findings > 0 {
		fmt.Printf("%d errors found\n", findings)
		os.Exit(1)
	}
	fmt.Println("OK")
}

func dump(path string, buckets []string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			bucket := tx.Bucket([]byte(name))
			if bucket == nil {
				return fmt.Errorf("%s has no bucket %s", path, name)
			}
			if err := bucket.ForEach(func(k, v []byte) error {
				fmt.Printf("%s %x %x\n", name, k, v)
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

func spoil(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("key"))
		key, value := bucket.Cursor().Last()
		if len(value) == 0 {
			return fmt.Errorf("%s has no keys", path)
		}
		// A key-value record begins with the key, whose second byte is its length: the third belongs to the key itself.
		changed := append([]byte{}, value...)
		changed[2] ^= 1
		return bucket.Put(append([]byte{}, key...), changed)
	})
}
