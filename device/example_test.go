package device_test

import (
	"fmt"
	"os"

	"github.com/accountd/accountd/device"
	"github.com/accountd/accountd/fault"
)

// Firmware runs an agent in its own process: it enrols once, and Run keeps the
// credentials fresh until its context ends.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "device")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	agent := device.New(device.Options{Dir: dir})
	if _, err := agent.State(); fault.Is(err, fault.NotFound) {
		fmt.Println("a token is needed: agent.Enroll")
	}
	// Output: a token is needed: agent.Enroll
}
