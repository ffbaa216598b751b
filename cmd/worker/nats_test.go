package main

import (
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
)

// nats ADDRESS [SUBJECT…] runs a NATS server there with JetStream, with the user "all", who may do everything, and the user
// "some", who may not publish on these subjects. The password of both is "secret".
func startServer(ts *testscript.TestScript, _ bool, args []string) {
	host, port, err := net.SplitHostPort(args[0])
	ts.Check(err)
	number, err := strconv.Atoi(port)
	ts.Check(err)
	some := &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: args[1:]}, Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX_OTHER.>"}}}
	srv, err := server.NewServer(&server.Options{
		Host: host, Port: number, NoSigs: true, NoLog: true, JetStream: true, StoreDir: ts.MkAbs("nats"),
		Users: []*server.User{{Username: "all", Password: "secret"}, {Username: "some", Password: "secret", Permissions: some}},
	})
	ts.Check(err)
	go srv.Start()
	ts.Defer(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		ts.Fatalf("the NATS server does not start")
	}
}

// within DURATION COMMAND… is exits 1 of a command that must end within that time.
func endsWithin(ts *testscript.TestScript, neg bool, args []string) {
	most, err := time.ParseDuration(args[0])
	ts.Check(err)
	begun := time.Now()
	checkExit(ts, neg, append([]string{"2"}, args[1:]...))
	if took := time.Since(begun); took > most {
		ts.Fatalf("it took %s", took)
	}
}
