package archtest

// Rules is all that Check enforces beside the fixed rules on package state, the
// environment, sleeping and skipping.
type Rules struct {
	Imports    []ImportRule
	Budgets    Budgets
	Exceptions []Exception
}

// The packages outside the module that the rules speak of.
const (
	natsServer = "github.com/nats-io/nats-server"
	natsClient = "github.com/nats-io/nats.go"
	bbolt      = "go.etcd.io/bbolt"
	pgx        = "github.com/jackc/pgx"
	cobra      = "github.com/spf13/cobra"
)

// ModuleRules returns the rules of this module. docs/ARCHITECTURE.md shows the
// picture behind them.
func ModuleRules() Rules {
	return Rules{
		Imports: append(worldRules(), inwardRules()...),
		Budgets: Budgets{
			FunctionLines:     100,
			TestFunctionLines: 120,
			Cyclomatic:        25,
			FileLines:         500,
			InterfaceMethods:  7,
		},
		Exceptions: exceptions(),
	}
}

// worldRules says which packages may touch which part of the world.
func worldRules() []ImportRule {
	return []ImportRule{
		{
			Packages: []string{
				"operator/...", "accounts/...", "revocation/...", "claims/...", "keys/...", "fault/...", "store",
			},
			Deny: []string{"net/http", pgx, bbolt, natsClient, natsServer, cobra},
			Why:  "domain packages know neither network nor database",
		},
		{
			Packages: []string{"resolver"},
			Deny:     []string{bbolt, pgx, cobra},
			Why:      "admission and proof work on any store",
		},
		{
			Packages: []string{"./..."},
			Except:   []string{"cmd/...", "internal/cli/..."},
			Deny:     []string{cobra},
			Why:      "only the command lines know their flags",
		},
		{
			Packages: []string{"./..."},
			Except:   []string{"server/node/...", "internal/natstest"},
			Deny:     []string{natsServer},
			Why:      "the bundled server is reached through server/node alone",
		},
		{
			Packages: []string{"./..."},
			Except:   []string{"store/bolt", "server/node/..."},
			Deny:     []string{bbolt},
			Why:      "database files are opened by store/bolt and by a node's local copy alone",
		},
		{
			Packages: []string{"./..."},
			Except:   []string{"store/pg", "internal/pgtest"},
			Deny:     []string{pgx},
			Why:      "PostgreSQL is spoken by store/pg alone",
		},
		{
			Packages: []string{"cmd/nsc"},
			Deny:     []string{natsServer},
			Linked:   true,
			Why:      "nsc stays small and never links the server",
		},
		{
			Packages: []string{"./..."},
			Except:   []string{"internal/natstest/...", "internal/pgtest", "store/storetest/..."},
			Deny:     []string{"testing", "internal/natstest", "internal/pgtest", "store/storetest", "internal/archtest"},
			Why:      "helpers of tests are for tests",
		},
	}
}

// inwardRules says in which direction packages of the module depend on each
// other.
func inwardRules() []ImportRule {
	const inwards = "dependencies point inwards"
	return []ImportRule{
		{Packages: []string{"fault/..."}, Ours: []string{}, Why: inwards},
		{Packages: []string{"revocation/..."}, Ours: []string{"fault"}, Why: inwards},
		{
			Packages: []string{"claims/...", "keys/..."},
			Ours:     []string{"fault", "keys", "revocation"},
			Why:      inwards,
		},
		{
			Packages: []string{"operator/..."},
			Ours:     []string{"fault", "keys", "claims", "revocation", "operator/...", "internal/durable", "internal/suggest"},
			Why:      inwards,
		},
		{
			Packages: []string{"accounts/..."},
			Ours:     []string{"claims", "keys", "fault", "revocation", "operator", "accounts/..."},
			Why:      inwards,
		},
		{Packages: []string{"store"}, Ours: []string{"revocation", "fault", "claims"}, Why: inwards},
		{
			Packages: []string{"store/..."},
			Ours:     []string{"revocation", "fault", "claims", "store/...", "internal/durable", "migrations"},
			Why:      inwards,
		},
		{
			Packages: []string{"api/..."},
			Deny:     []string{"resolver", "server", "store"},
			Why:      "what nsc and accountd share knows nothing of the service behind it",
		},
		{
			Packages: []string{"resolver/...", "enroll/..."},
			Deny:     []string{"server", "cmd", "internal/cli"},
			Why:      "the service does not know the process around it",
		},
		{
			Packages: []string{"server/..."},
			Deny:     []string{"cmd", "internal/cli"},
			Why:      "the service does not know the command lines",
		},
	}
}

// exceptions lists what breaks a rule for a good reason.
func exceptions() []Exception {
	return []Exception{
		{
			Rule: "interface-size", File: "store/store.go", Name: "Tx",
			Reason: "the five reads of Reader and four writes of its own: a conditional write reads and writes one state",
		},
		{
			Rule: "package-state", File: "internal/cli/diff.go", Name: "signedFields",
			Reason: "a fixed list of two names, read by diffClaims alone",
		},
	}
}
