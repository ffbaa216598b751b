package main

import (
	"net"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
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

// publish ADDRESS SUBJECT FILE publishes a file as it is, as a producer does that is not ours.
func publishFile(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := nats.Connect("nats://" + args[0])
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.Publish(args[1], []byte(ts.ReadFile(args[2]))))
	ts.Check(conn.Flush())
}
