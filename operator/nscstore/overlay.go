package nscstore

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// target is a file that a transaction changes.
type target struct {
	keys bool   // below the keystore, else below the operator's folder
	name string // relative, with slashes
}

// change is what becomes of a target.
type change struct {
	target
	data   []byte
	remove bool
}

// changes are the staged changes in the order of their first mention; a later
// change of a target replaces the earlier one.
type changes struct {
	list []change
	at   map[target]int // place in list
}

func (c *changes) add(ch change) {
	if i, ok := c.at[ch.target]; ok {
		Wipe(c.list[i].data)
		c.list[i] = ch
		return
	}
	if c.at == nil {
		c.at = map[target]int{}
	}
	c.at[ch.target] = len(c.list)
	c.list = append(c.list, ch)
}

// wipe overwrites the staged contents, among which may be seeds.
func (c *changes) wipe() {
	for _, ch := range c.list {
		Wipe(ch.data)
	}
}

// overlay is the operator's folder as the staged changes will leave it.
type overlay struct {
	base    disk
	staged  *changes
	folders map[string]*folder // those that alike looked into
}

func (o overlay) read(name string) ([]byte, error) {
	i, ok := o.staged.at[target{name: name}]
	if !ok {
		return o.base.read(name)
	}
	if o.staged.list[i].remove {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(o.staged.list[i].data), nil
}

func (o overlay) has(name string) bool {
	i, ok := o.staged.at[target{name: name}]
	if !ok {
		return o.base.has(name)
	}
	return !o.staged.list[i].remove
}

func (o overlay) files(dir string, names []string) ([]string, error) {
	out, err := o.base.files(dir, names)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, name := range out {
		there[name] = true
	}
	for _, name := range names {
		if i, ok := o.staged.at[target{name: path.Join(dir, name)}]; ok {
			there[name] = !o.staged.list[i].remove
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !there[name] }), nil
}

func (o overlay) alike(dir, name string) ([]string, error) {
	f, ok := o.folders[dir]
	if !ok {
		var err error
		if f, err = o.base.folder(dir); err != nil {
			return nil, err
		}
		o.folders[dir] = f
	}
	names := f.alike(name)
	for _, ch := range o.staged.list {
		if below, ok := strings.CutPrefix(ch.name, dir+"/"); ok && !ch.keys {
			if child, _, _ := strings.Cut(below, "/"); alike(child, name) {
				names = append(names, child)
			}
		}
	}
	return names, nil
}

func (o overlay) list(dir string) ([]string, error) {
	names, err := o.base.list(dir)
	if err != nil {
		return nil, err
	}
	for _, ch := range o.staged.list {
		below, ok := strings.CutPrefix(ch.name, dir+"/")
		switch {
		case ch.keys || !ok:
		case !ch.remove:
			child, _, _ := strings.Cut(below, "/")
			names = append(names, child)
		case path.Dir(ch.name) == dir:
			names = slices.DeleteFunc(names, func(n string) bool { return n == below })
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
