package gpu

// MI250: AMD Instinct MI250 and MI250X data sheets, one of two dies; PCI ids from
// AMD's k8s-device-plugin, which reports either card as 740c or 7408. A node has
// four cards: eight dies.
var _ = register(Accelerator{
	Name:         "MI250",
	MemoryGiB:    64,
	BandwidthTBs: 1.6,
	Architecture: "gfx90a",
	Generation:   250,
	DeviceIDs:    []string{"740c", "7408"},
	Precisions:   precisionsCDNA2,
	Native:       nativeCDNA2,
	MaxPerNode:   8,
})
