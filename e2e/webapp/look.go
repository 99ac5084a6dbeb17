package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// look are the verbs by which tests see a container from inside. done is false for a verb that is none of them.
func look(verb string, args []string) (done bool, err error) {
	switch verb {
	case "cat":
		return true, cat(args)
	case "stat":
		return true, stat(args)
	case "env":
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
		return true, nil
	case "fail":
		return true, fail(args)
	case "eat":
		return true, eat(args)
	case "fill":
		return true, fill(args)
	}
	return false, nil
}

// cat prints files.
func cat(paths []string) error {
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", strings.TrimSuffix(string(data), "\n"))
	}
	return nil
}

// stat prints type and permissions, owner and group of files, whatever links lead to them.
func stat(paths []string) error {
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no owner", p)
		}
		fmt.Println(p, info.Mode(), st.Uid, st.Gid)
	}
	return nil
}

// fail leaves a message and ends with a code.
func fail(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("fail CODE TEXT")
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := os.WriteFile("/dev/termination-log", []byte(args[1]), 0o600); err != nil {
		return err
	}
	fmt.Println(args[1])
	return exit(code)
}

// eat takes memory, in MiB, and waits.
func eat(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	all := make([]byte, n<<20)
	for i := 0; i < len(all); i += 4096 {
		all[i] = 1
	}
	<-told()
	fmt.Println(len(all))
	return nil
}

// fill writes a file of a size, in MiB, and waits.
func fill(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("fill PATH MIB")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[0], make([]byte, n<<20), 0o600); err != nil {
		return err
	}
	<-told()
	return nil
}
