package apply

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl sets a kernel setting of the process's network namespace, named by its path below /proc/sys
// ("net/ipv4/ip_forward"). Nothing is written when the setting has the value already.
func Sysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	cur, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("kernel setting %s: %w", name, err)
	}
	if strings.TrimSpace(string(cur)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("kernel setting %s to %s: %w", name, value, err)
	}
	return nil
}
