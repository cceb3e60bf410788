package main

func runLoad(args []string) error { return nil }
