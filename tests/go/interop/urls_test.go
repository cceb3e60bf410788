package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
)

// The table that the URL reader is tested with says what etcd says.
func TestUrlTable(t *testing.T) {
	file, err := os.Open("../../../src/membership/testdata/urls.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatal(line, err)
		}
		in, _ := strconv.Unquote(quoted)
		want, err := strconv.Unquote(strings.TrimSpace(line[len(quoted):]))
		if err != nil {
			t.Fatal(line, err)
		}
		got := ""
		if urls, err := types.NewURLs([]string{in}); err != nil {
			got = err.Error()
		} else {
			got = urls.StringSlice()[0]
		}
		if got != want {
			t.Errorf("%q: %q, the table has %q", in, got, want)
		}
		rows++
	}
	if rows < 100 {
		t.Errorf("only %d rows", rows)
	}
}
