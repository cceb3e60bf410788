package main

func runRangeStream(args []string) error { return nil }
