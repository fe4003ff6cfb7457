package pg

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/accountd/accountd/store"
)

// Enroll implements store.Tx. Times count in milliseconds, until rounded up.
// Writers of a store wait for each other, so that what is counted stays.
func (t *txn) Enroll(e store.Enrolment, now time.Time) error {
	if err := store.CheckEnrolment(e); err != nil {
		return err
	}
	taken, used := "", 0
	err := t.tx.QueryRow(t.ctx, `SELECT key FROM token_devices WHERE token = $1 AND device = $2`, e.Token, e.Device).Scan(&taken)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return t.broke("enroll", err)
	}
	err = t.tx.QueryRow(t.ctx, `SELECT uses FROM tokens WHERE token = $1`, e.Token).Scan(&used)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return t.broke("enroll", err)
	}
	if fresh, err := store.DecideEnrolment(e, taken, used); err != nil || !fresh {
		return err
	}
	if err := t.exec("enroll", `INSERT INTO tokens (token, uses, until_msec) VALUES ($1, 1, $2)
		ON CONFLICT (token) DO UPDATE SET uses = tokens.uses + 1`, e.Token, e.Until.Add(time.Millisecond-1).UnixMilli()); err != nil {
		return err
	}
	if err := t.exec("enroll", `INSERT INTO token_devices (token, device, key) VALUES ($1, $2, $3)`, e.Token, e.Device, e.Key); err != nil {
		return err
	}
	// Forget more than one adds, so that their number falls after a burst.
	if err := t.exec("forget uses", `DELETE FROM token_devices WHERE (token, device) IN
		(SELECT d.token, d.device FROM tokens JOIN token_devices d USING (token)
		WHERE until_msec < $1 AND token <> $2 ORDER BY until_msec LIMIT 16)`, now.UnixMilli(), e.Token); err != nil {
		return err
	}
	return t.exec("forget uses", `DELETE FROM tokens t WHERE until_msec < $1 AND token <> $2
		AND NOT EXISTS (SELECT FROM token_devices d WHERE d.token = t.token)`, now.UnixMilli(), e.Token)
}

// ForgetUses implements store.Tx.
func (t *txn) ForgetUses(now time.Time) (int, error) {
	var n int
	err := t.tx.QueryRow(t.ctx, `WITH gone AS (DELETE FROM token_devices WHERE (token, device) IN
		(SELECT d.token, d.device FROM tokens JOIN token_devices d USING (token)
		WHERE until_msec < $1 ORDER BY until_msec LIMIT 4096) RETURNING 1) SELECT count(*) FROM gone`, now.UnixMilli()).Scan(&n)
	if err != nil {
		return 0, t.broke("forget uses", err)
	}
	return n, t.exec("forget uses", `DELETE FROM tokens t WHERE until_msec < $1
		AND NOT EXISTS (SELECT FROM token_devices d WHERE d.token = t.token)`, now.UnixMilli())
}
