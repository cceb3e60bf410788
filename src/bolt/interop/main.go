// Go's bbolt as the judge of our files, and the author of files for us to read.
//
//	interop check FILE           opens FILE for writing (freelist loaded or rebuilt, as a member does) and checks it
//	interop dump FILE            prints every bucket, key and value in hex, in order
//	interop write FILE SEED      makes FILE with random transactions; SEED chooses freelist syncing too
//	interop change FILE SEED     random transactions on FILE as it is
//	interop findings FILE        opens FILE read-only and prints what bbolt's check finds
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

func main() {
	if len(os.Args) < 3 {
		fail("usage: interop check|dump|write|change|findings FILE [SEED]")
	}
	command, path := os.Args[1], os.Args[2]
	seed := int64(0)
	if len(os.Args) > 3 {
		n, err := strconv.ParseInt(os.Args[3], 10, 64)
		must(err)
		seed = n
	}
	switch command {
	case "check":
		db := open(path, &bolt.Options{NoFreelistSync: true})
		check(db)
		must(db.Close())
	case "findings":
		db := open(path, &bolt.Options{ReadOnly: true})
		must(db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				fmt.Println(err)
			}
			return nil
		}))
		must(db.Close())
	case "dump":
		db := open(path, &bolt.Options{ReadOnly: true})
		dump(db)
		must(db.Close())
	case "write", "change":
		if command == "write" {
			_ = os.Remove(path)
		}
		db := open(path, &bolt.Options{NoFreelistSync: seed%2 == 0, NoSync: true})
		change(db, rand.New(rand.NewSource(seed)))
		check(db)
		must(db.Close())
	default:
		fail("unknown command " + command)
	}
}

func open(path string, options *bolt.Options) *bolt.DB {
	db, err := bolt.Open(path, 0600, options)
	must(err)
	return db
}

func check(db *bolt.DB) {
	must(db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	}))
}

func dump(db *bolt.DB) {
	out := bufio.NewWriter(os.Stdout)
	must(db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return dumpBucket(out, "", name, b) })
	}))
	must(out.Flush())
}

func dumpBucket(out *bufio.Writer, indent string, name []byte, b *bolt.Bucket) error {
	fmt.Fprintf(out, "%sbucket %x sequence %d\n", indent, name, b.Sequence())
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return dumpBucket(out, indent+" ", k, b.Bucket(k))
		}
		fmt.Fprintf(out, "%s %x=%x\n", indent, k, v)
		return nil
	})
}

// Ascending puts, random puts and deletes, ranges of deletes, nested buckets, big values.
func change(db *bolt.DB, r *rand.Rand) {
	for i := 0; i < 20; i++ {
		must(db.Update(func(tx *bolt.Tx) error {
			name := []byte(fmt.Sprintf("bucket%d", r.Intn(5)))
			if r.Intn(12) == 0 && tx.Bucket(name) != nil {
				return tx.DeleteBucket(name)
			}
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			if r.Intn(3) == 0 {
				if b, err = b.CreateBucketIfNotExists([]byte("nested")); err != nil {
					return err
				}
				if err = b.SetSequence(uint64(r.Intn(100))); err != nil {
					return err
				}
			}
			return changeBucket(b, r)
		}))
	}
}

func changeBucket(b *bolt.Bucket, r *rand.Rand) error {
	style := r.Intn(4)
	next := 0
	if last, _ := b.Cursor().Last(); last != nil {
		if n, err := strconv.Atoi(string(last)); err == nil {
			next = n + 1
		}
	}
	for n := r.Intn(600); n > 0; n-- {
		key := []byte(fmt.Sprintf("%06d", r.Intn(2000)))
		if style == 0 {
			b.FillPercent = 0.9
			key = []byte(fmt.Sprintf("%06d", next))
			next++
		}
		var err error
		if style == 1 {
			err = b.Delete(key)
		} else {
			value := make([]byte, r.Intn(100))
			if r.Intn(50) == 0 {
				value = make([]byte, r.Intn(20000))
			}
			r.Read(value)
			err = b.Put(key, value)
		}
		if err != nil {
			return err
		}
	}
	if style != 2 {
		return nil
	}
	c := b.Cursor()
	n := r.Intn(1000)
	for k, v := c.Seek([]byte(fmt.Sprintf("%06d", r.Intn(2000)))); k != nil && n > 0; k, v = c.Next() {
		n--
		if v != nil && r.Intn(4) > 0 {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

func must(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}
