package cli

import (
	"errors"
	"fmt"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/fault"
)

// results is the JSON of a command about several accounts.
type results struct {
	Schema  int        `json:"schema"`
	Results []*receipt `json:"results"`
	Error   *api.Error `json:"error,omitempty"`
}

// fail notes the error of one of several receipts.
func (r *receipt) fail(err error) {
	if err != nil {
		r.err, r.Error = err, api.ToError(err)
	}
}

// finishAll prints the results of a command about several accounts. Its error
// is err, else that of the only account, else one that counts the failed ones.
func (a *app) finishAll(recs []*receipt, err error) error {
	for _, rec := range recs {
		rec.Schema = api.Schema
		rec.Ms = float64(a.env.Now().Sub(a.started).Microseconds()) / 1000
	}
	if err == nil {
		err = a.worst(recs)
	}
	if a.flags.json {
		if recs == nil {
			recs = []*receipt{}
		}
		if werr := a.printStructured(results{api.Schema, recs, api.ToError(err)}); werr != nil && err == nil {
			return werr
		}
		return err
	}
	for _, rec := range recs {
		if a.flags.output == "name" {
			fmt.Fprintln(a.env.Stdout, rec.Name)
			continue
		}
		if rec.err == nil || fault.Is(rec.err, fault.Pending) {
			if len(recs) > 1 {
				a.printShort(rec)
			} else {
				a.printReceipt(rec)
			}
			continue
		}
		if len(recs) > 1 {
			a.report(nil, rec.err)
		}
	}
	return err
}

// worst is the error that decides the exit code: a refusal before a proof that
// is pending.
func (a *app) worst(recs []*receipt) error {
	var refused, pending []*receipt
	for _, rec := range recs {
		switch {
		case rec.err == nil:
		case fault.Is(rec.err, fault.Pending):
			pending = append(pending, rec)
		default:
			refused = append(refused, rec)
		}
	}
	switch {
	case len(refused) == 1 && len(recs) == 1:
		return refused[0].err
	case len(refused) > 0:
		return fault.New(fault.CodeOf(refused[0].err), "%d of %d accounts were refused", len(refused), len(recs))
	case len(pending) > 0:
		var shown told
		if errors.As(pending[0].err, &shown) {
			return told{fault.New(fault.Pending, "%s", pendingText(len(pending), len(recs)))}
		}
		return pending[0].err
	}
	return nil
}

func pendingText(n, of int) string {
	return fmt.Sprintf("%d of %d accounts are not in force everywhere", n, of)
}
