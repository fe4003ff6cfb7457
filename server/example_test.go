package server_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/accountd/accountd/server"
)

// untilReady ends the service when it says that it is ready.
type untilReady struct{ end context.CancelFunc }

func (u untilReady) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if strings.HasPrefix(line, "ready in") {
			fmt.Println("ready")
		}
	}
	u.end()
	return len(p), nil
}

// A whole cluster for a test: made in a folder, ended by its context.
func ExampleDev() {
	dir, err := os.MkdirTemp("", "accountd")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = server.Dev(ctx, server.DevOptions{
		Dir: dir, Nodes: 1, Port: server.FreePorts, HTTP: "off", Out: untilReady{cancel},
	})
	fmt.Println(err)
	// Output:
	// ready
	// <nil>
}
