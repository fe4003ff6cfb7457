package nscstore

import (
	"path"
	"strings"

	"github.com/accountd/accountd/fault"
)

// offersDir holds, by the key of the exporter, the activations that accounts of
// the store have offered. What was agreed is in the claims of the importer;
// these are for offers that nobody has accepted, or somebody elsewhere.
const offersDir = stateDir + "/offers"

// Offers returns the activations that accounts of the store have offered. They
// are not checked.
func (v view) Offers() ([]string, error) {
	exporters, err := v.tree.list(offersDir)
	if err != nil {
		return nil, ioFault("list offers", err)
	}
	var tokens []string
	for _, key := range exporters {
		some, err := v.readAll(path.Join(offersDir, key))
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, some...)
	}
	return tokens, nil
}

// readAll reads the files of a folder; there are none if it does not exist.
func (v view) readAll(dir string) ([]string, error) {
	names, err := v.tree.list(dir)
	if err != nil {
		return nil, ioFault("list "+dir, err)
	}
	var contents []string
	for _, name := range names {
		data, err := v.tree.read(path.Join(dir, name))
		if err != nil {
			return nil, ioFault("read "+path.Join(dir, name), err)
		}
		contents = append(contents, strings.TrimSpace(string(data)))
	}
	return contents, nil
}

// PutOffer stores the activation of a contract, in the place of an earlier one.
func (tx *Tx) PutOffer(exporterKey, id, token string) error {
	name, err := offerFile(exporterKey, id)
	if err != nil {
		return err
	}
	tx.put(name, []byte(token))
	return nil
}

// RemoveOffer removes what PutOffer stored; it is no error if there is none.
func (tx *Tx) RemoveOffer(exporterKey, id string) error {
	name, err := offerFile(exporterKey, id)
	if err != nil || !tx.tree.has(name) {
		return err
	}
	tx.remove(name)
	return nil
}

func offerFile(exporterKey, id string) (string, error) {
	if err := requireAccountKey(exporterKey); err != nil {
		return "", err
	}
	if !safeName(id) {
		return "", fault.New(fault.Invalid, "%q is no id of a contract", id)
	}
	return path.Join(offersDir, exporterKey, id+jwtSuffix), nil
}
