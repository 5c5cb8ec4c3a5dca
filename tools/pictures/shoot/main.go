// Command shoot opens the link of a dashboard in a browser without a screen, and writes what pages look like.
//
//	shoot LINK FOLDER NAME=PATH...
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: shoot LINK FOLDER NAME=PATH...")
		os.Exit(2)
	}
	if err := shoot(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "shoot:", err)
		os.Exit(1)
	}
}

func shoot(link, folder string, pages []string) error {
	base, err := url.Parse(link)
	if err != nil {
		return err
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1100, 760))...)
	defer end()
	ctx, cancel := chromedp.NewContext(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	if err := chromedp.Run(ctx, chromedp.Navigate(link), chromedp.WaitReady(".pools", chromedp.ByQuery)); err != nil {
		return err
	}
	for _, page := range pages {
		name, path, _ := strings.Cut(page, "=")
		var png []byte
		err := chromedp.Run(ctx, chromedp.Navigate(base.ResolveReference(&url.URL{Path: path}).String()), chromedp.WaitReady("#live h1", chromedp.ByQuery),
			chromedp.Sleep(time.Second), chromedp.CaptureScreenshot(&png))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		file := filepath.Join(folder, name+".png")
		if err := os.WriteFile(file, png, 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}
