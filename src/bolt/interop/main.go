// Go's bbolt as the judge of our files, and the author of files for us to read.
//
//	interop check FILE           opens FILE for writing (freelist loaded or rebuilt, as a member does) and checks it
//	interop dump FILE            prints every bucket, key and value in hex, in order
//	interop write FILE SEED      makes FILE with random transactions; SEED chooses freelist syncing too
//	interop change FILE SEED     random transactions on FILE as it is
//	interop findings FILE        opens FILE read-only and prints what bbolt's check finds
//	interop layout FILE N SIZE   pages that N records of SIZE bytes take, in use and in the file, four pairs in a line:
//	                             filled, updated, defragmented, scattered (../testing/layout.h makes the same changes)
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"slices"
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
	case "layout":
		size, err := strconv.Atoi(os.Args[4])
		must(err)
		(&layout{path: path, records: uint64(seed), value: make([]byte, size), state: 1}).run()
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

const round = 50

type layout struct {
	path    string
	records uint64
	value   []byte
	state   uint64
	next    uint64
	live    []uint64
}

func (l *layout) run() {
	db := l.open("filled")
	for l.next < l.records {
		l.append(db)
	}
	l.count(db)
	for n := uint64(0); n < l.records; n += round {
		l.append(db)
		l.eraseSome(db)
	}
	l.count(db)
	l.copy()
	l.scatter()
	fmt.Println()
}

func recordKey(n uint64) []byte {
	key := binary.BigEndian.AppendUint64(nil, n)
	return binary.BigEndian.AppendUint64(append(key, '_'), 0)
}

func (l *layout) draw(below uint64) uint64 {
	l.state = l.state*6364136223846793005 + 1442695040888963407
	return (l.state >> 33) % below
}

func (l *layout) open(name string) *bolt.DB {
	path := l.path + "." + name
	_ = os.Remove(path)
	db := open(path, &bolt.Options{NoFreelistSync: true, NoSync: true, PageSize: 4096})
	must(os.Remove(path))
	bucket(db, 0, func(*bolt.Bucket) {})
	return db
}

func (l *layout) count(db *bolt.DB) {
	var hwm int
	must(db.View(func(tx *bolt.Tx) error {
		hwm = int(tx.Size()) / db.Info().PageSize
		return nil
	}))
	stats := db.Stats()
	fmt.Printf("%d %d ", hwm-stats.FreePageN-stats.PendingPageN, hwm)
}

func bucket(db *bolt.DB, fill float64, what func(*bolt.Bucket)) {
	must(db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("key"))
		if err == nil {
			if fill > 0 {
				b.FillPercent = fill
			}
			what(b)
		}
		return err
	}))
}

func (l *layout) append(db *bolt.DB) {
	bucket(db, 0.9, func(b *bolt.Bucket) {
		for i := 0; i < round; i++ {
			l.live = append(l.live, l.next)
			must(b.Put(recordKey(l.next), l.value))
			l.next++
		}
	})
}

// A compaction's transaction: etcd leaves its fill factor as it is.
func (l *layout) eraseSome(db *bolt.DB) {
	var gone []uint64
	for i := 0; i < round; i++ {
		last := len(l.live) - 1
		at := l.draw(uint64(last + 1))
		gone = append(gone, l.live[at])
		l.live[at] = l.live[last]
		l.live = l.live[:last]
	}
	slices.Sort(gone)
	bucket(db, 0, func(b *bolt.Bucket) {
		for _, n := range gone {
			must(b.Delete(recordKey(n)))
		}
	})
}

// Etcd's defragmentation: at most 10,000 records a transaction.
func (l *layout) copy() {
	db := l.open("copy")
	slices.Sort(l.live)
	for rest := l.live; len(rest) > 0; {
		n := min(len(rest), 10000)
		bucket(db, 0.9, func(b *bolt.Bucket) {
			for _, id := range rest[:n] {
				must(b.Put(recordKey(id), l.value))
			}
		})
		rest = rest[n:]
	}
	l.count(db)
}

func (l *layout) scatter() {
	db := l.open("scattered")
	for n := uint64(0); n < 3*l.records; n += round {
		bucket(db, 0, func(b *bolt.Bucket) {
			for i := 0; i < round; i++ {
				must(b.Put(recordKey(l.draw(l.records)*2654435761), l.value))
			}
			for i := 0; i < round/2; i++ {
				must(b.Delete(recordKey(l.draw(l.records) * 2654435761)))
			}
		})
	}
	l.count(db)
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
