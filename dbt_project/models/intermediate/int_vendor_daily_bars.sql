{{ vendor_daily_bars() }}
