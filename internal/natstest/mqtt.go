package natstest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// The packet types of MQTT 3.1.1 (section 2.2.1) that the client knows, as the
// upper half of a packet's first byte.
const (
	mqttConnect   = 1
	mqttConnAck   = 2
	mqttPublish   = 3
	mqttSubscribe = 8
	mqttSubAck    = 9
	mqttPingReq   = 12
	mqttPingResp  = 13
	mqttBye       = 14
)

// maxMQTTPacket bounds what the client reads, in bytes.
const maxMQTTPacket = 4 << 20

// MQTTOptions are the fields of CONNECT. KeepAlive is off, the session clean.
type MQTTOptions struct {
	ClientID string
	User     string // "" sends none
	Password string // a bearer user's JWT; "" sends none
}

// MQTTMessage is a publication that the client received.
type MQTTMessage struct {
	Topic   string
	Payload []byte
}

// MQTTRefused is the error of DialMQTT when the server answers CONNECT with a
// return code other than 0 (section 3.2.2.3); 5 is "not authorized".
type MQTTRefused struct{ Code byte }

// Error says which code the server returned.
func (e MQTTRefused) Error() string { return fmt.Sprintf("mqtt: connect refused with code %d", e.Code) }

// MQTT is a connected MQTT 3.1.1 client at quality of service 0. Its methods
// may be called concurrently.
type MQTT struct {
	conn   net.Conn
	closed chan struct{} // closed when the connection is gone
	err    error         // why, set before closed is closed
	subAck chan []byte
	pong   chan struct{}

	mu      sync.Mutex // guards what follows, and writes to conn
	queue   []MQTTMessage
	arrived chan struct{} // has room for one
	lastID  uint16
}

// DialMQTT connects to the server at addr, host:port, and returns when the
// server has accepted the client. A refusal is an MQTTRefused; a server that
// closes without an answer gives io.EOF or a network error.
func DialMQTT(ctx context.Context, addr string, opts MQTTOptions) (*MQTT, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	undo := context.AfterFunc(ctx, func() { conn.Close() })
	reader := bufio.NewReader(conn)
	err = mqttHandshake(conn, reader, opts)
	if !undo() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("mqtt: connect to %s: %w", addr, err)
	}
	m := &MQTT{
		conn:    conn,
		closed:  make(chan struct{}),
		subAck:  make(chan []byte, 1),
		pong:    make(chan struct{}, 1),
		arrived: make(chan struct{}, 1),
	}
	go m.read(reader)
	return m, nil
}

// mqttHandshake sends CONNECT and waits for CONNACK.
func mqttHandshake(w io.Writer, r *bufio.Reader, opts MQTTOptions) error {
	const cleanSession, hasPassword, hasUser = 1 << 1, 1 << 6, 1 << 7
	flags := byte(cleanSession)
	payload := mqttString(nil, opts.ClientID)
	if opts.User != "" {
		flags |= hasUser
		payload = mqttString(payload, opts.User)
	}
	if opts.Password != "" {
		flags |= hasPassword
		payload = mqttString(payload, opts.Password)
	}
	head := mqttString(nil, "MQTT")
	head = append(head, 4, flags, 0, 0) // protocol level 4, no keep-alive
	if _, err := w.Write(mqttPacket(mqttConnect<<4, append(head, payload...))); err != nil {
		return err
	}
	first, body, err := readMQTT(r)
	if err != nil {
		return err
	}
	if first>>4 != mqttConnAck || len(body) != 2 {
		return fmt.Errorf("packet %#x is no answer to connect", first)
	}
	if body[1] != 0 {
		return MQTTRefused{Code: body[1]}
	}
	return nil
}

// Subscribe subscribes to filter and returns when the server has answered. One
// subscription may be under way at a time.
func (m *MQTT) Subscribe(ctx context.Context, filter string) error {
	m.mu.Lock()
	m.lastID++
	body := binary.BigEndian.AppendUint16(nil, m.lastID)
	body = append(mqttString(body, filter), 0) // quality of service 0
	_, err := m.conn.Write(mqttPacket(mqttSubscribe<<4|2, body))
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("mqtt: subscribe to %s: %w", filter, err)
	}
	select {
	case ack := <-m.subAck:
		if len(ack) != 3 || ack[2] > 2 {
			return fmt.Errorf("mqtt: subscribe to %s: refused", filter)
		}
		return nil
	case <-m.closed:
		return fmt.Errorf("mqtt: subscribe to %s: %w", filter, m.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish sends payload on topic. At quality of service 0 nothing answers; Ping
// tells that the server has read it.
func (m *MQTT) Publish(topic string, payload []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.conn.Write(mqttPacket(mqttPublish<<4, append(mqttString(nil, topic), payload...)))
	return err
}

// Ping returns when the server has answered, and so has read all that was sent
// before. One ping may be under way at a time.
func (m *MQTT) Ping(ctx context.Context) error {
	m.mu.Lock()
	_, err := m.conn.Write(mqttPacket(mqttPingReq<<4, nil))
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("mqtt: ping: %w", err)
	}
	select {
	case <-m.pong:
		return nil
	case <-m.closed:
		return fmt.Errorf("mqtt: ping: %w", m.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Receive returns the next message, waiting for it until ctx ends or the
// connection is gone.
func (m *MQTT) Receive(ctx context.Context) (MQTTMessage, error) {
	for {
		m.mu.Lock()
		if len(m.queue) > 0 {
			msg := m.queue[0]
			m.queue = m.queue[1:]
			m.mu.Unlock()
			return msg, nil
		}
		m.mu.Unlock()
		select {
		case <-m.arrived:
		case <-m.closed:
			return MQTTMessage{}, m.err
		case <-ctx.Done():
			return MQTTMessage{}, ctx.Err()
		}
	}
}

// Closed is closed when the connection is gone, whoever closed it.
func (m *MQTT) Closed() <-chan struct{} { return m.closed }

// Close says goodbye and waits until the connection is gone. Closing twice is
// harmless.
func (m *MQTT) Close() {
	m.mu.Lock()
	_, _ = m.conn.Write(mqttPacket(mqttBye<<4, nil)) // it may be gone already
	m.mu.Unlock()
	m.conn.Close()
	<-m.closed
}

// read takes packets from the connection until it is gone.
func (m *MQTT) read(r *bufio.Reader) {
	defer close(m.closed)
	defer m.conn.Close()
	for {
		first, body, err := readMQTT(r)
		if err == nil {
			err = m.take(first, body)
		}
		if err != nil {
			m.err = err
			return
		}
	}
}

// take handles one packet from the server.
func (m *MQTT) take(first byte, body []byte) error {
	switch first >> 4 {
	case mqttPublish:
		if len(body) < 2 || len(body) < 2+int(binary.BigEndian.Uint16(body)) {
			return errors.New("mqtt: truncated publication")
		}
		topic := int(binary.BigEndian.Uint16(body))
		m.mu.Lock()
		m.queue = append(m.queue, MQTTMessage{Topic: string(body[2 : 2+topic]), Payload: body[2+topic:]})
		m.mu.Unlock()
		select {
		case m.arrived <- struct{}{}:
		default:
		}
	case mqttSubAck:
		select {
		case m.subAck <- body:
		default: // nobody waits any more
		}
	case mqttPingResp:
		select {
		case m.pong <- struct{}{}:
		default: // nobody waits any more
		}
	default:
		return fmt.Errorf("mqtt: unexpected packet %#x", first)
	}
	return nil
}

// readMQTT reads one packet: its first byte and its body.
func readMQTT(r *bufio.Reader) (byte, []byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r) // MQTT's length is the same encoding
	if err != nil {
		return 0, nil, err
	}
	if size > maxMQTTPacket {
		return 0, nil, fmt.Errorf("mqtt: packet of %d bytes", size)
	}
	body := make([]byte, size)
	_, err = io.ReadFull(r, body)
	return first, body, err
}

// mqttPacket frames body.
func mqttPacket(first byte, body []byte) []byte {
	packet := binary.AppendUvarint([]byte{first}, uint64(len(body)))
	return append(packet, body...)
}

// mqttString appends s with its two-byte length.
func mqttString(to []byte, s string) []byte {
	to = binary.BigEndian.AppendUint16(to, uint16(len(s)))
	return append(to, s...)
}
