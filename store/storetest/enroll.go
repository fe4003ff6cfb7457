package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/accountd/accountd/store"
)

// use counts a use of a token for two devices that expires in an hour.
func (h *harness) use(token, device, key string, now time.Time) error {
	return h.s.Update(h.ctx, func(tx store.Tx) error {
		return tx.Enroll(store.Enrolment{Token: token, Uses: 2, Device: device, Key: key, Until: now.Add(time.Hour)}, now)
	})
}

func testEnrolments(h *harness) {
	now := noon()
	for _, again := range []bool{false, true} { // a device that did not hear the answer asks again
		if err := h.use("t", "d1", "U1", now); err != nil {
			h.Fatalf("first device, again %v: %v", again, err)
		}
	}
	h.wantErr("another key", h.use("t", "d1", "U2", now), store.ErrTaken)
	if err := h.use("t", "d2", "U1", now); err != nil {
		h.Fatalf("second device: %v", err)
	}
	h.wantErr("third device", h.use("t", "d3", "U3", now), store.ErrSpent)
	h.wantErr("another key, spent", h.use("t", "d2", "U2", now), store.ErrTaken)
	if err := h.use("t", "d2", "U1", now.Add(59*time.Minute)); err != nil {
		h.Fatalf("second device again: %v", err)
	}
	if err := h.use("t2", "d1", "U2", now); err != nil {
		h.Fatalf("another token: %v", err)
	}
	failed := errors.New("rolled back")
	h.wantErr("rolled back", h.s.Update(h.ctx, func(tx store.Tx) error {
		return errors.Join(tx.Enroll(store.Enrolment{Token: "t2", Uses: 2, Device: "d2", Key: "U1", Until: now}, now), failed)
	}), failed)
	if err := h.use("t2", "d3", "U3", now); err != nil {
		h.Fatalf("after one that was rolled back: %v", err)
	}
	for _, bad := range []store.Enrolment{{Uses: 1, Device: "d", Key: "U"}, {Token: "t", Uses: 1, Key: "U"}, {Token: "t", Uses: 1, Device: "d"}, {Token: "t", Device: "d", Key: "U"}} {
		err := h.s.Update(h.ctx, func(tx store.Tx) error { return tx.Enroll(bad, now) })
		if err == nil {
			h.Errorf("%+v was stored", bad)
		}
	}
	// After an hour and a second the uses of t and t2 may be forgotten: those of
	// a new token push them out, a few at a time.
	late := now.Add(time.Hour + time.Second)
	for i := range 4 {
		if err := h.use(fmt.Sprint("late", i), "d", "U", late); err != nil {
			h.Fatal(err)
		}
	}
	if err := h.use("t", "d1", "U2", late); err != nil {
		h.Errorf("uses of an expired token are still remembered: %v", err)
	}
	if got := h.head(); got != 0 {
		h.Errorf("enrolments appended %d changes", got)
	}
}

// testForgetUses: expired uses go without another enrolment, in as many steps as
// it takes, and nothing else does.
func testForgetUses(h *harness) {
	const devices = 5000
	now := noon()
	if n, err := h.forgetUses(now); n != 0 || err != nil {
		h.Fatalf("%d forgotten in an empty store, %v", n, err)
	}
	if err := h.use("stays", "d", "U1", now.Add(time.Hour)); err != nil {
		h.Fatal(err)
	}
	h.update(func(tx store.Tx) error {
		for i := range devices {
			e := store.Enrolment{Token: "goes", Uses: devices, Device: fmt.Sprint("d", i), Key: "U1", Until: now.Add(time.Hour)}
			if err := tx.Enroll(e, now); err != nil {
				return err
			}
		}
		return nil
	})
	if n, err := h.forgetUses(now.Add(time.Hour)); n != 0 || err != nil {
		h.Errorf("%d forgotten too early, %v", n, err)
	}
	steps := 0
	for ; ; steps++ {
		n, err := h.forgetUses(now.Add(time.Hour + time.Second))
		if err != nil {
			h.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if steps != 2 && steps != 3 { // a store may count a token, too
		h.Errorf("forgotten in %d steps", steps)
	}
	if err := h.use("goes", "d1", "U2", now.Add(2*time.Hour)); err != nil {
		h.Errorf("a use is still remembered: %v", err)
	}
	h.wantErr("another key for what stays", h.use("stays", "d", "U2", now), store.ErrTaken)
}

func (h *harness) forgetUses(now time.Time) (n int, err error) {
	err = h.s.Update(h.ctx, func(tx store.Tx) (err error) { n, err = tx.ForgetUses(now); return err })
	return n, err
}

// testConcurrentUses: of many devices that use a token for fewer at one time, as
// many succeed as it is for, whatever is repeated.
func testConcurrentUses(h *harness) {
	const uses, devices = 7, 20
	won := make(chan string, devices)
	var wg sync.WaitGroup
	for i := range devices {
		wg.Go(func() {
			e := store.Enrolment{Token: "t", Uses: uses, Device: fmt.Sprint("d", i), Key: fmt.Sprint("U", i), Until: noon().Add(time.Hour)}
			for {
				err := h.s.Update(h.ctx, func(tx store.Tx) error { return tx.Enroll(e, noon()) })
				switch {
				case err == nil:
					won <- e.Device
					return
				case errors.Is(err, store.ErrSpent):
					return
				case !errors.Is(err, store.ErrUnknown) && !errors.Is(err, ErrInjected):
					h.Errorf("device %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if close(won); len(won) != uses {
		h.Errorf("%d devices enrolled with a token for %d", len(won), uses)
	}
}
