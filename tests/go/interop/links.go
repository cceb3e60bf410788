package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// links stands between the members of a cluster: one listener in front of each member's peer port, whose address the
// member advertises. What one member sends to another passes here on connections that either of them dialed, so a
// link is a direction, not a connection. Who dialed is found in /proc: the process that owns the socket at the other
// end. It is told what to do on standard input, one line at a time, and answers `ok` to each:
//
//	listen NAME LISTEN TARGET    what NAME advertises, and where it listens
//	process NAME PID             the process that is NAME from now on
//	cut A B                      nothing that A sends reaches B; what is under way stays, as with TCP over a dead line
//	heal A B                     the link works again
//	delay A B MILLISECONDS       what A sends arrives so much later
//	reset A B                    connections between the two are closed
//
// A byte is held back by one copy loop that stops reading, so the memory held is a buffer for each direction. With a
// delay it is what arrives within the delay, up to delayBytes.
const (
	linkBuffer = 64 << 10
	delayBytes = 16 << 20
)

type link struct{ from, to string }

type links struct {
	mu    sync.Mutex
	wake  *sync.Cond
	names map[int]string // process to member
	cut   map[link]bool
	delay map[link]time.Duration
	conns map[*linkConn]bool
}

type linkConn struct {
	dialer, target string
	in, out        net.Conn
}

func (c *linkConn) close() {
	_ = c.in.Close()
	if c.out != nil {
		_ = c.out.Close()
	}
}

// inodeOf is the socket that is bound to a local port and connected to another.
func inodeOf(local, remote int) string {
	f, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	mine, theirs := fmt.Sprintf(":%04X", local), fmt.Sprintf(":%04X", remote)
	for line := range strings.Lines(string(f)) {
		w := strings.Fields(line)
		if len(w) > 9 && strings.HasSuffix(w[1], mine) && strings.HasSuffix(w[2], theirs) {
			return w[9]
		}
	}
	return ""
}

func holds(pid int, inode string) bool {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if to, err := os.Readlink(folder + "/" + e.Name()); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// dialer tells which member made a connection, "" for somebody else (a driver's own request).
func (l *links) dialer(c net.Conn) string {
	local, remote := c.LocalAddr().(*net.TCPAddr).Port, c.RemoteAddr().(*net.TCPAddr).Port
	// A process is told to us a moment after it starts, so look again for a while.
	for range 20 {
		inode := inodeOf(remote, local)
		l.mu.Lock()
		names := make(map[int]string, len(l.names))
		for pid, name := range l.names {
			names[pid] = name
		}
		l.mu.Unlock()
		for pid, name := range names {
			if inode != "" && inode != "0" && holds(pid, inode) {
				return name
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ""
}

// passes waits while the link is cut; false means the connection is gone.
func (l *links) passes(c *linkConn, k link) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.cut[k] && l.conns[c] {
		l.wake.Wait()
	}
	return l.delay[k], l.conns[c]
}

func (l *links) isCut(k link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut[k]
}

// gone tells whether the other side has closed, also behind bytes that nobody has read.
func gone(c net.Conn) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := true
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		const established = 1
		closed = err != nil || info.State != established
	})
	return closed
}

type late struct {
	at   time.Time
	data []byte
}

// carry copies one direction until an end. With a delay, the bytes wait in a queue for their time.
func (l *links) carry(c *linkConn, k link, from, to net.Conn) {
	defer l.drop(c)
	queue := make(chan late, delayBytes/linkBuffer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		broken := false
		for p := range queue {
			if broken {
				continue
			}
			time.Sleep(time.Until(p.at))
			if _, ok := l.passes(c, k); !ok {
				broken = true
				continue
			}
			if _, err := to.Write(p.data); err != nil {
				broken = true
				l.drop(c)
			}
		}
	}()
	for {
		delay, ok := l.passes(c, k)
		if !ok {
			break
		}
		buffer := make([]byte, linkBuffer)
		n, err := from.Read(buffer)
		if n > 0 {
			queue <- late{time.Now().Add(delay), buffer[:n]}
		}
		if err != nil {
			if err == io.EOF {
				queue <- late{time.Now().Add(delay), nil}
			}
			break
		}
	}
	close(queue)
	<-done
}

func (l *links) drop(c *linkConn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.wake.Broadcast()
	c.close()
}

func (l *links) serve(name string, in net.Conn, target string) {
	c := &linkConn{dialer: l.dialer(in), target: name, in: in}
	l.mu.Lock()
	l.conns[c] = true
	l.mu.Unlock()
	// A handshake needs both directions. Who gives up meanwhile was never there: no late request of theirs arrives.
	for l.isCut(link{c.dialer, name}) || l.isCut(link{name, c.dialer}) {
		if gone(in) {
			l.drop(c)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	out, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		l.drop(c)
		return
	}
	l.mu.Lock()
	c.out = out
	there := l.conns[c]
	l.mu.Unlock()
	if !there {
		_ = out.Close()
		return
	}
	go l.carry(c, link{c.dialer, name}, in, out)
	l.carry(c, link{name, c.dialer}, out, in)
}

func (l *links) command(w []string) error {
	if len(w) < 3 {
		return fmt.Errorf("what is %v?", w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.wake.Broadcast()
	switch {
	case w[0] == "listen" && len(w) == 4:
		listener, err := net.Listen("tcp", w[2])
		if err != nil {
			return err
		}
		go func() {
			for {
				in, err := listener.Accept()
				if err != nil {
					return
				}
				go l.serve(w[1], in, w[3])
			}
		}()
	case w[0] == "process":
		pid, err := strconv.Atoi(w[2])
		if err != nil {
			return err
		}
		for old, name := range l.names {
			if name == w[1] {
				delete(l.names, old)
			}
		}
		l.names[pid] = w[1]
	case w[0] == "cut":
		l.cut[link{w[1], w[2]}] = true
	case w[0] == "heal":
		delete(l.cut, link{w[1], w[2]})
	case w[0] == "delay" && len(w) == 4:
		ms, err := strconv.Atoi(w[3])
		if err != nil {
			return err
		}
		l.delay[link{w[1], w[2]}] = time.Duration(ms) * time.Millisecond
	case w[0] == "reset":
		for c := range l.conns {
			if (c.dialer == w[1] && c.target == w[2]) || (c.dialer == w[2] && c.target == w[1]) {
				delete(l.conns, c)
				c.close()
			}
		}
	default:
		return fmt.Errorf("what is %v?", w)
	}
	return nil
}

func runLinks(args []string) error {
	flags := flag.NewFlagSet("links", flag.ExitOnError)
	_ = flags.Parse(args)
	l := &links{names: map[int]string{}, cut: map[link]bool{}, delay: map[link]time.Duration{}, conns: map[*linkConn]bool{}}
	l.wake = sync.NewCond(&l.mu)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := l.command(strings.Fields(in.Text())); err != nil {
			return err
		}
		fmt.Println("ok")
	}
	return in.Err()
}
