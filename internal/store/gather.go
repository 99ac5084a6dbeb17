package store

import "hyperkube/internal/object"

// gatherChunk is how many encodings a list makes before it lets others of its kind go on.
const gatherChunk = 64

// JSON is [Entry.JSON] of every entry. Lists of a kind that are asked for at the same time share the work: what one encodes the others wait for.
func (p *Page) JSON(v *object.Version) ([][]byte, error) {
	return p.gather(Format{v.GroupVersion, "json"}, func(e *Entry) ([]byte, error) { return e.JSON(v) })
}

// Proto is [Entry.Proto] of every entry, made as by [Page.JSON].
func (p *Page) Proto(v *object.Version) ([][]byte, error) {
	return p.gather(Format{v.GroupVersion, "protobuf"}, func(e *Entry) ([]byte, error) { return e.Proto(v) })
}

func (p *Page) gather(f Format, encode func(*Entry) ([]byte, error)) ([][]byte, error) {
	all := make([][]byte, len(p.Entries))
	for i := 0; i < len(all); {
		if data, ok := p.Entries[i].enc.get(f); ok {
			all[i] = data
			i++
			continue
		}
		end := min(i+gatherChunk, len(all))
		if err := encodeAll(p.Entries[i:end], all[i:end], encode); err != nil {
			return nil, err
		}
		i = end
	}
	return all, nil
}

// encodeAll encodes entries while no other list of their kind does.
func encodeAll(entries []*Entry, to [][]byte, encode func(*Entry) ([]byte, error)) (err error) {
	making := &entries[0].coll.making
	making.Lock()
	defer making.Unlock()
	for i, e := range entries {
		if to[i], err = encode(e); err != nil {
			return err
		}
	}
	return nil
}
