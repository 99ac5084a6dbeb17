package apiserver

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// settings reads "name=bool" pairs; a name alone means true, as upstream takes it.
func settings(flag string, pairs []string) (map[string]bool, []string, error) {
	out := map[string]bool{}
	var order []string
	for _, list := range pairs {
		for _, p := range strings.Split(list, ",") {
			name, value, given := strings.Cut(strings.TrimSpace(p), "=")
			if name == "" {
				continue
			}
			on := true
			if given && value != "" {
				var err error
				if on, err = strconv.ParseBool(value); err != nil {
					return nil, nil, fmt.Errorf("--%s: %s=%s: want true or false", flag, name, value)
				}
			}
			out[name] = on
			order = append(order, name)
		}
	}
	return out, order, nil
}

// checkGates accepts well-formed feature gates and says that they change nothing.
func checkGates(pairs []string) error {
	gates, order, err := settings("feature-gates", pairs)
	if err != nil {
		return err
	}
	for _, g := range order {
		slog.Default().With("component", "apiserver").Info("feature gate has no effect", "gate", g, "wanted", gates[g])
	}
	return nil
}

// servedTable is the built-in table as the runtime configuration wants it. Versions that are not built in cannot be
// switched on.
func servedTable(pairs []string) (*object.Table, error) {
	t := object.Builtin()
	wanted, order, err := settings("runtime-config", pairs)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{"api/all": true, "api/ga": true, "api/beta": true, "api/alpha": true}
	for _, k := range t.All() {
		for _, v := range k.Versions {
			known[v.GroupVersion.String()] = true
		}
	}
	for _, name := range order {
		if known[name] {
			continue
		}
		if !wanted[name] {
			continue // off it is
		}
		return nil, fmt.Errorf("--runtime-config: %s=true: this server does not have that version", name)
	}
	served := func(gv schema.GroupVersion) bool {
		if on, said := wanted[gv.String()]; said {
			return on
		}
		for _, all := range []string{"api/ga", "api/all"} {
			if on, said := wanted[all]; said && gv.Group != "" {
				return on
			}
		}
		return true
	}
	for _, k := range t.All() {
		if err := restrict(t, k, served); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// restrict leaves only the versions of a row that are served.
func restrict(t *object.Table, k *object.Kind, served func(schema.GroupVersion) bool) error {
	var kept []object.Version
	for _, v := range k.Versions {
		if served(v.GroupVersion) {
			kept = append(kept, v)
		}
	}
	switch {
	case len(kept) == len(k.Versions):
		return nil
	case len(kept) == 0:
		t.Remove(k)
		return nil
	case !served(k.Hub().GroupVersion):
		return fmt.Errorf("--runtime-config: %s cannot be switched off alone: %s are stored in it", k.Hub().GroupVersion, k.Resource)
	}
	row := *k
	row.Versions = kept
	t.Remove(k)
	t.Add(&row)
	return nil
}
