// Package nscstore reads and writes the store and the keystore of NATS
// operators in the layout of the official nsc tool, file by file the same, and
// adds what that tool lacks: transactions that survive a kill, and locks
// between processes.
//
// # Tour
//
// [ResolveDirs] finds the three folders of an installation from flags and
// environment; [LoadConfig] and [UpdateConfig] read and change nsc.json, and
// [ResolveContext] tells which operator and account a command means. [Open]
// gives the [Store]:
//
//	store, err := nscstore.Open(dirs)
//	operator, err := store.Operator(ctx, "acme")   // to read
//	token, err := operator.AccountJWT("payments")
//	err = store.Update(ctx, "acme", func(tx *nscstore.Tx) error { // to change
//		if err := tx.ExpectAccount("payments", token); err != nil {
//			return err
//		}
//		return tx.PutAccount("payments", newer)
//	})
//
// A transaction takes the lock of its operator, sees the files as they are,
// and stages changes of JWTs, seeds, credentials and publications. They are
// checked when staged. When the function returns nil all of them reach the disk
// or none does, whatever kills the process; see below.
//
// # Locks
//
// There are four, all files that stay: one per operator for transactions (held
// shortly), some for the accounts of commands that wait for a service
// ([Operator.LockAccounts]), one per store root while an operator is made, one
// for nsc.json. The official tool knows none of them; do not run it at the same
// time as a change.
//
// # How a transaction commits
//
// New files are written to the staging folders (.accountd/tx of the operator,
// .accountd of the keystore) and synced; then the journal, a list of renames
// and removals, is written durably: from here on the transaction is committed.
// Then the moves are made and synced, and the journal is removed. Who takes the
// lock next makes the moves of a journal that it finds. A transaction of one
// file needs no journal, since one rename is whole by itself.
//
// Readers take no lock. They see each file as it was before or after a
// transaction, and of a transaction that adds a JWT and its seed never the JWT
// alone.
//
// # Trust
//
// The store does not verify signatures: it checks that a JWT is well formed, of
// the right type, about the right kind of key and of the right name. Names are
// checked when they are written, and every access goes through an os.Root, so
// that no name leaves the store. Seeds are wiped from the buffers of this
// package, and do not appear in errors.
package nscstore
