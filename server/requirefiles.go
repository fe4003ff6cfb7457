package server

import (
	"context"
	"path/filepath"

	"github.com/nats-io/jwt/v2"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/fault"
	"github.com/accountd/accountd/operator"
	"github.com/accountd/accountd/operator/nscstore"
)

const restoreHint = "restore it from a copy, or start over in a new folder: accountd dev --dir DIR"

// missingFile is the error of a file that must exist. Of the folders on the way
// to it, it names the outermost that is missing.
func missingFile(path string) error {
	for dir := filepath.Dir(path); !exists(dir); dir = filepath.Dir(dir) {
		path = dir
	}
	return fault.New(fault.Invalid, "%s is missing", path).About("file", path).ByRule("file-missing").WithHint(restoreHint)
}

// damagedFile is the error of a file that cannot be understood.
func damagedFile(path string, err error) error {
	return fault.New(fault.Invalid, "%s is damaged: %w", path, err).About("file", path).ByRule("file-damaged").WithHint(restoreHint)
}

// foreignFile is the error of a file that belongs to another operator.
func foreignFile(path string) error {
	return fault.New(fault.Invalid, "%s is not of this operator", path).About("file", path).ByRule("file-foreign").WithHint(restoreHint)
}

// unusable is what err, of reading path in the official store, means here.
func unusable(path string, err error) error {
	switch f := fault.As(err); {
	case f == nil || f.Code == fault.Denied:
		return err
	case f.Code == fault.NotFound:
		return missingFile(path)
	case f.Rule == "file-damaged": // it names the file
		return f.WithHint(restoreHint)
	}
	return damagedFile(path, err)
}

// requireOperator refuses to go on without what the person has in the official
// store: the operator, its system account and the credentials of its system
// user. Seeds may be elsewhere: the root key can be taken offline.
func (d *dev) requireOperator(ctx context.Context) error {
	ns, err := nscstore.Open(d.folder.dirs())
	if err != nil {
		return err
	}
	folder := filepath.Join(ns.Dirs().Stores, devOperator)
	op, err := ns.Operator(ctx, devOperator)
	if err != nil {
		return unusable(filepath.Join(folder, ".nsc"), err)
	}
	path := filepath.Join(folder, devOperator+".jwt")
	token, err := op.JWT()
	if err != nil {
		return unusable(path, err)
	}
	doc, err := claims.Decode(token)
	if err != nil {
		return damagedFile(path, err)
	}
	trust, err := operator.TrustOf(doc)
	switch {
	case err != nil:
		return damagedFile(path, err)
	case doc.Subject != d.state.Operator:
		return foreignFile(path)
	case trust.SystemAccount != d.state.System: // the person chose another one
		return nil
	}
	if err := d.requireSystem(op); err != nil {
		return err
	}
	return d.requireSysCreds(ns.Keystore(), op)
}

// requireSystem looks at the system account, under whatever name it has.
func (d *dev) requireSystem(op *nscstore.Operator) error {
	name, err := op.Account(d.state.System)
	if err != nil { // so say what is wrong where it was
		name = systemName
	}
	path := filepath.Join(op.Dir(), "accounts", name, name+".jwt")
	token, err := op.AccountJWT(name)
	if err != nil {
		return unusable(path, err)
	}
	doc, err := claims.Decode(token)
	switch {
	case err != nil:
		return damagedFile(path, err)
	case doc.Subject != d.state.System:
		return foreignFile(path)
	}
	return nil
}

// requireSysCreds looks at the credentials that DIR/env names, unless the person
// deleted their user.
func (d *dev) requireSysCreds(ks *nscstore.Keystore, op *nscstore.Operator) error {
	path, err := ks.CredsPath(devOperator, systemName, systemUser)
	if err != nil {
		return err
	}
	creds, err := ks.Creds(devOperator, systemName, systemUser)
	if fault.Is(err, fault.NotFound) {
		if _, uerr := op.User(systemName, systemUser); fault.Is(uerr, fault.NotFound) {
			return nil
		}
	}
	if err != nil {
		return unusable(path, err)
	}
	defer nscstore.Wipe(creds)
	token, seed, err := nscstore.ParseCreds(creds)
	if err != nil {
		return damagedFile(path, err)
	}
	nscstore.Wipe(seed)
	doc, err := claims.Decode(token)
	if err != nil {
		return damagedFile(path, err)
	}
	uc, err := claims.As[jwt.UserClaims](doc)
	switch {
	case err != nil:
		return damagedFile(path, err)
	case uc.IssuerAccount != d.state.System && uc.Issuer != d.state.System:
		return foreignFile(path)
	}
	return nil
}
