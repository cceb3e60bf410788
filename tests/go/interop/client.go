package main

func runClient(args []string) error { return nil }
