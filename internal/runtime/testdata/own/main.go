// Command own is the program in the containers of this package's tests.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	switch os.Args[1] {
	case "sleep":
		fmt.Println("hello from the container")
		time.Sleep(time.Hour)
	case "echo":
		fmt.Println(strings.Join(os.Args[2:], " "))
	}
}
