package main

func runJournal(args []string) error { return nil }
