package nscstore

import (
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/nats-io/nkeys"

	"github.com/accountd/accountd/fault"
)

// stateDir holds what this package keeps beside the official files: the lock,
// transactions, account locks, publications and users of deleted accounts. The official tool looks for
// accounts below accounts/ and for operators one level up, and passes it by.
const stateDir = ".accountd"

// Publication says how the local JWT of an account stands to the service.
type Publication struct {
	ID          string `json:"jti"`                   // jti of the last JWT the service took
	Revision    uint64 `json:"revision"`              // its revision there, 0 if not known
	Unpublished bool   `json:"unpublished,omitempty"` // the local JWT has edits that the service lacks
}

// Published returns what is known of the publication of an account, by its
// public key; ok is false if nothing is. A damaged file is fault.Invalid.
func (v view) Published(accountKey string) (p Publication, ok bool, err error) {
	name, err := publicationFile(accountKey)
	if err != nil {
		return Publication{}, false, err
	}
	data, err := v.tree.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Publication{}, false, nil
	}
	if err != nil {
		return Publication{}, false, ioFault("read publication", err)
	}
	if p, err = decodePublication(data); err != nil {
		return Publication{}, false, damaged(v.path(name), err).
			WithHint("remove %s, then compare with the service: nsc pull", v.path(name))
	}
	return p, true, nil
}

// decodePublication reads the content of a publication file.
func decodePublication(data []byte) (Publication, error) {
	var p Publication
	if err := json.Unmarshal(data, &p); err != nil {
		return Publication{}, err
	}
	if p.ID == "" && !p.Unpublished {
		return Publication{}, errors.New("it names no JWT")
	}
	return p, nil
}

// publicationFile is the name of the file, below the operator's folder.
func publicationFile(accountKey string) (string, error) {
	if err := requireAccountKey(accountKey); err != nil {
		return "", err
	}
	return stateDir + "/" + accountKey + ".json", nil
}

func requireAccountKey(key string) error {
	if nkeys.IsValidPublicAccountKey(key) {
		return nil
	}
	return fault.New(fault.Invalid, "%q is no public key of an account", key).About("account", key).ByRule("account-key")
}
