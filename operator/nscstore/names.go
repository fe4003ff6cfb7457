package nscstore

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/accountd/accountd/internal/durable"
)

// namesDir holds the names in folders of many accounts or users, so that a new
// one is compared with them without reading the folder. Such a list is believed
// as long as the folder has the time of change that it had after we last wrote
// there; it is no part of any transaction.
const namesDir = stateDir + "/names"

// manyNames is how many entries of a folder are worth a list.
const manyNames = 512

// stampSize is the size of the time of change that a list of names begins with.
const stampSize = 20

// folder is what is in a folder of accounts or users.
type folder struct {
	names  []byte // each ends with a zero byte
	count  int    // 0 if they were read from the list
	listed bool   // the list is to be believed
}

// alike returns the entries that differ from name in case only.
func (f *folder) alike(name string) (found []string) {
	for rest := f.names; len(rest) > 0; {
		var entry []byte
		entry, rest, _ = bytes.Cut(rest, []byte{0})
		if bytes.EqualFold(entry, []byte(name)) && string(entry) != name {
			found = append(found, string(entry))
		}
	}
	return found
}

// listFile is the file of the list of names in dir.
func listFile(dir string) string {
	return path.Join(namesDir, strings.ReplaceAll(strings.TrimPrefix(dir, accountsDir+"/"), "/", "."))
}

// folder reads dir, or the list of the names in it.
func (d disk) folder(dir string) (*folder, error) {
	f, err := d.open(dir)
	if f == nil {
		return &folder{}, err
	}
	defer f.Close()
	stamp, err := stampOf(f)
	if err != nil {
		return nil, err
	}
	if data, err := d.read(listFile(dir)); err == nil && bytes.HasPrefix(data, stamp) {
		return &folder{names: data[stampSize:], listed: true}, nil
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := &folder{count: len(names)}
	for _, name := range names {
		out.add(name)
	}
	return out, nil
}

func (f *folder) add(name string) { f.names = append(append(f.names, name...), 0) }

// stampOf returns the time of change of a folder.
func stampOf(f *os.File) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%0*d", stampSize, fi.ModTime().UnixNano()), nil
}

// keepNames brings the lists of the folders that tx looked into up to date with
// what it added. Without a list the next one reads the folder, so that failures
// do not matter. Half a list is not believed: its stamp is written last.
func (w *site) keepNames(tx *Tx) {
	for _, dir := range tx.emptied {
		_ = w.operator.Remove(listFile(dir))
	}
	for dir, f := range tx.folders {
		if f.listed || f.count >= manyNames {
			_ = w.keepList(dir, f, tx.added(dir))
		}
	}
}

func (w *site) keepList(dir string, f *folder, added []string) error {
	if err := durable.MkdirAllIn(w.operator, namesDir, dirMode); err != nil {
		return err
	}
	list, err := w.operator.OpenFile(listFile(dir), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	defer list.Close()
	fresh := folder{}
	at := int64(stampSize + len(f.names))
	if !f.listed {
		fresh.names, at = append(make([]byte, stampSize), f.names...), 0
		err = list.Truncate(0)
	}
	for _, name := range added {
		fresh.add(name)
	}
	if err == nil {
		_, err = list.WriteAt(fresh.names, at)
	}
	if err != nil {
		return err
	}
	there, err := w.operator.Open(dir)
	if err != nil {
		return err
	}
	defer there.Close()
	stamp, err := stampOf(there)
	if err == nil {
		_, err = list.WriteAt(stamp, 0)
	}
	return err
}

// added returns the entries that tx puts into dir.
func (tx *Tx) added(dir string) (names []string) {
	for _, ch := range tx.staged.list {
		if below, ok := strings.CutPrefix(ch.name, dir+"/"); ok && !ch.keys && !ch.remove {
			child, _, _ := strings.Cut(below, "/")
			names = append(names, child)
		}
	}
	return names
}
