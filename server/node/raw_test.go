package node

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
)

func bearer(c *jwt.UserClaims) { c.BearerToken = true }

// rawClient is a connection that says exactly what the test wants.
type rawClient struct {
	net.Conn
	in *bufio.Reader
}

// rawDial connects over TCP with a bearer token and further CONNECT fields.
func rawDial(n *Node, token string, fields map[string]any) (*rawClient, error) {
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.Ports().Client))
	if err != nil {
		return nil, err
	}
	c := &rawClient{Conn: nc, in: bufio.NewReaderSize(nc, 4096)}
	connect := map[string]any{"jwt": token, "verbose": false, "lang": "raw", "version": "1", "protocol": 1}
	for k, v := range fields {
		connect[k] = v
	}
	line, err := json.Marshal(connect)
	if err == nil {
		err = c.hello(line)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *rawClient) hello(connect []byte) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.in.ReadString('\n'); err != nil { // INFO
		return err
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s\r\nPING\r\n", connect); err != nil {
		return err
	}
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "PONG"):
			return c.SetDeadline(time.Time{})
		case strings.HasPrefix(line, "-ERR"):
			return fmt.Errorf("refused: %s", strings.TrimSpace(line))
		}
	}
}

// mqttDial connects over MQTT 3.1.1 with a bearer token as the password.
func mqttDial(n *Node, id, username, token string) (*rawClient, error) {
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.Ports().MQTT))
	if err != nil {
		return nil, err
	}
	c := &rawClient{Conn: nc, in: bufio.NewReader(nc)}
	if err := c.mqttConnect(id, username, token); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *rawClient) mqttConnect(id, username, token string) error {
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xC2, 0, 0} // user name, password, clean session, no keep-alive
	for _, s := range []string{id, username, token} {
		body = binary.BigEndian.AppendUint16(body, uint16(len(s)))
		body = append(body, s...)
	}
	packet := []byte{0x10}
	for left := len(body); ; {
		digit := byte(left % 128)
		if left /= 128; left > 0 {
			packet = append(packet, digit|0x80)
			continue
		}
		packet = append(packet, digit)
		break
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(append(packet, body...)); err != nil {
		return err
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(c.in, ack); err != nil {
		return err
	}
	if ack[0] != 0x20 || ack[3] != 0 {
		return fmt.Errorf("connack %x", ack)
	}
	return c.SetDeadline(time.Time{})
}

// gone returns when the server has closed the connection.
func (c *rawClient) gone(t testing.TB) time.Time {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c.in)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatal("connection is still open")
	}
	return time.Now()
}
