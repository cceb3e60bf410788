package main

import (
	"fmt"
	"os"
	"regexp"
)

// report collects differences, sets apart those that differences.md lists with a reason, and counts the rest.
type report struct {
	known  map[string]bool
	seen   map[string]int
	failed int
	limit  int // after so many the rest is only counted
}

var knownLine = regexp.MustCompile("(?m)^- `([^`]+)`: ")

func newReport(path string) (*report, error) {
	r := &report{known: map[string]bool{}, seen: map[string]int{}, limit: 40}
	if path == "" {
		return r, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, m := range knownLine.FindAllStringSubmatch(string(text), -1) {
		r.known[m[1]] = true
	}
	return r, nil
}

// add takes one difference: id is its name in differences.md, details what to print.
func (r *report) add(id, details string) {
	if r.known[id] {
		r.seen[id]++
		return
	}
	r.failed++
	if r.failed <= r.limit {
		fmt.Printf("DIFFERENCE %s\n%s\n", id, details)
	}
}

func (r *report) finish(what string) error {
	for id, n := range r.seen {
		fmt.Printf("known difference %s: %d times\n", id, n)
	}
	if r.failed > 0 {
		return fmt.Errorf("%s: %d differences", what, r.failed)
	}
	fmt.Println(what + ": no differences")
	return nil
}
